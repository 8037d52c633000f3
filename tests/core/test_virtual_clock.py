"""Time that passes when a test says so."""

import asyncio
import threading
from datetime import timedelta

import pytest

from celeriac.testing import VirtualClock


def test_it_stands_still_until_it_is_advanced():
    async def main():
        clock = VirtualClock()
        start = clock.now()
        assert clock.monotonic() == 0
        await clock.advance(90.5)
        assert clock.now() - start == timedelta(seconds=90.5)
        assert clock.monotonic() == 90.5
        assert start.utcoffset() == timedelta(0)

    asyncio.run(main())


def test_sleepers_wake_in_order_at_their_moments():
    async def main():
        clock, woken = VirtualClock(), []

        async def sleep(seconds):
            await clock.sleep(seconds)
            woken.append((seconds, clock.monotonic()))

        async with asyncio.TaskGroup() as group:
            for seconds in (3, 1, 2, 10, 1):
                group.create_task(sleep(seconds))
            await clock.advance(5)
            assert woken == [(1, 1), (1, 1), (2, 2), (3, 3)]
            assert (clock.sleepers, clock.monotonic()) == (1, 5)
            await clock.advance(5)
        assert woken[-1] == (10, 10)

    asyncio.run(main())


def test_who_sleeps_again_is_woken_again_within_one_advance():
    async def main():
        clock, ticks = VirtualClock(), []

        async def tick():
            while True:
                await clock.sleep(1)
                ticks.append(clock.monotonic())

        task = asyncio.create_task(tick())
        await clock.advance(4.5)
        assert ticks == [1, 2, 3, 4]
        task.cancel()
        await asyncio.wait([task])
        await clock.advance(10)
        assert (ticks, clock.sleepers) == ([1, 2, 3, 4], 0)

    asyncio.run(main())


def test_sleeping_for_nothing_returns():
    async def main():
        clock = VirtualClock()
        await clock.sleep(0)
        await clock.sleep(-1)

    asyncio.run(main())


def test_time_does_not_go_back():
    with pytest.raises(ValueError, match="does not go back"):
        asyncio.run(VirtualClock().advance(-1))


def test_a_sleeper_of_another_thread_is_woken():
    clock, asleep = VirtualClock(), threading.Event()

    async def sleep():
        sleeping = asyncio.ensure_future(clock.sleep(60))
        while not clock.sleepers:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
        asleep.set()
        await sleeping

    thread = threading.Thread(target=asyncio.run, args=[sleep()])
    thread.start()
    assert asleep.wait(5)
    asyncio.run(clock.advance(60))
    thread.join(5)
    assert not thread.is_alive()
