"""The simulated loop: time that jumps, processes in an order drawn from a seed, each in its own order."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from celeriac.testing.simulation.clock import LoopClock
from celeriac.testing.simulation.loop import Process, SimulatedLoop, SimulationError, context_of, running_name


@pytest.fixture
def loop():
    made = SimulatedLoop(Random(1))
    yield made
    made.close()


def processes(loop, count, steps, told):
    """Start processes that each tell their steps."""

    async def step(name):
        for number in range(steps):
            told.append((name, number))
            await asyncio.sleep(0)

    return [
        loop.create_task(step(name), context=context_of(Process(name)))
        for name in map("process-{}".format, range(count))
    ]


async def finished(tasks):
    for task in tasks:
        await task


def test_time_jumps_to_the_next_timer(loop):
    seen = []

    async def sleep(seconds):
        await LoopClock(loop).sleep(seconds)
        seen.append((seconds, loop.time()))

    async def main():
        async with asyncio.timeout(100_000):
            await asyncio.gather(sleep(3600), sleep(1), sleep(0), sleep(60))

    loop.run_until_complete(main())
    assert seen == [(0, 0), (1, 1), (60, 60), (3600, 3600)]


def test_a_timeout_comes_at_its_moment(loop):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await loop.create_future()
        return loop.time()

    assert loop.run_until_complete(main()) == 5


def test_processes_take_turns_by_chance_and_each_keeps_its_order(loop):
    told = []
    loop.run_until_complete(finished(processes(loop, 3, 20, told)))
    for name in {name for name, _ in told}:
        assert [number for other, number in told if other == name] == list(range(20))
    turns = [name for name, _ in told]
    assert turns != sorted(turns)
    assert turns != ["process-0", "process-1", "process-2"] * 20


def test_a_seed_gives_one_order_and_another_seed_another():
    orders = []
    for seed in (1, 1, 2):
        loop = SimulatedLoop(Random(seed))
        told = []
        loop.run_until_complete(finished(processes(loop, 3, 20, told)))
        loop.close()
        orders.append(told)
    assert orders[0] == orders[1] != orders[2]


def test_a_stalled_process_stands_still_and_goes_on_where_it_was(loop):
    process, told, clock = Process("slow"), [], LoopClock(loop)

    async def work():
        while True:
            told.append((running_name(), loop.time()))
            await clock.sleep(1)

    async def main():
        loop.create_task(work(), context=context_of(process))
        await clock.sleep(1.5)
        loop.stall(process)
        await clock.sleep(10)
        assert told == [("slow", 0), ("slow", 1)]
        loop.resume(process)
        await clock.sleep(1.2)
        assert told == [("slow", 0), ("slow", 1), ("slow", 11.5), ("slow", 12.5)]

    loop.run_until_complete(main())


def test_what_one_process_wakes_runs_as_the_process_that_waits(loop):
    bell, heard = asyncio.Event(), []

    async def wait():
        await bell.wait()
        heard.append(running_name())

    async def ring():
        bell.set()

    async def main():
        waiting = loop.create_task(wait(), context=context_of(Process("waiter")))
        await loop.create_task(ring(), context=context_of(Process("ringer")))
        await waiting

    loop.run_until_complete(main())
    assert heard == ["waiter"]


def test_waiting_for_nothing_is_told(loop):
    async def main():
        await loop.create_future()

    with pytest.raises(SimulationError, match="everyone waits"):
        loop.run_until_complete(main())


def test_going_on_for_ever_is_told(loop, monkeypatch):
    monkeypatch.setattr("celeriac.testing.simulation.loop.MOST_STEPS", 1000)

    async def main():
        while True:  # noqa: ASYNC110 - for ever is what this is about
            await asyncio.sleep(0)

    with pytest.raises(SimulationError, match="still not done after 1000"):
        loop.run_until_complete(main())


def test_an_error_in_a_callback_is_kept(loop):
    async def main():
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert [type(error["exception"]) for error in loop.errors] == [ZeroDivisionError]
