"""From threads to a loop: everything arrives, once, in order, and the loop is not woken for each."""

from __future__ import annotations

import asyncio
import threading

import pytest

from celeriac.crossing import Crossing

THREADS, EACH = 8, 2_000


def test_what_many_threads_put_arrives_once_and_in_the_order_of_each() -> None:
    async def body() -> list[tuple[int, int]]:
        arrived: list[tuple[int, int]] = []
        all_here = asyncio.Event()

        def take(gathered) -> None:
            arrived.extend(gathered)
            if len(arrived) >= THREADS * EACH:
                all_here.set()

        crossing, loop = Crossing(take), asyncio.get_running_loop()

        def put(thread: int) -> None:
            for number in range(EACH):
                crossing.put((thread, number), loop)

        threads = [threading.Thread(target=put, args=(thread,)) for thread in range(THREADS)]
        for thread in threads:
            thread.start()
        await asyncio.wait_for(all_here.wait(), 30)
        for thread in threads:
            thread.join()
        return arrived

    arrived = asyncio.run(body())
    assert len(arrived) == THREADS * EACH
    for thread in range(THREADS):
        assert [number for mine, number in arrived if mine == thread] == list(range(EACH))


class Loop:
    """One that does what it is asked to when it is told to; notes how often it was woken."""

    def __init__(self) -> None:
        self.calls: list = []
        self.closed = False

    def call_soon_threadsafe(self, call) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.calls.append(call)


def test_the_loop_is_woken_once_until_it_looks_and_then_again() -> None:
    arrived: list[int] = []
    crossing, loop = Crossing(arrived.extend), Loop()
    for number in range(3):
        crossing.put(number, loop)
    assert len(loop.calls) == 1
    loop.calls.pop()()
    assert arrived == [0, 1, 2]
    crossing.put(3, loop)
    crossing.hand_over()  # somebody on the loop does not wait for that
    assert arrived == [0, 1, 2, 3]
    loop.calls.pop()()
    assert arrived == [0, 1, 2, 3]


def test_what_is_put_while_the_loop_looks_goes_with_the_rest_or_wakes_it_again() -> None:
    arrived: list[int] = []
    loop = Loop()

    def take(gathered) -> None:
        for number in gathered:
            arrived.append(number)
            if number < 3:
                crossing.put(number + 1, loop)

    crossing = Crossing(take)
    crossing.put(0, loop)
    while loop.calls:
        loop.calls.pop()()
    assert arrived == [0, 1, 2, 3]


def test_what_is_not_taken_goes_with_the_next() -> None:
    arrived: list[int] = []

    def take(gathered) -> None:
        arrived.append(next(gathered))
        if arrived == [0]:
            raise ValueError("this one")
        arrived.extend(gathered)

    crossing, loop = Crossing(take), Loop()
    crossing.put(0, loop)
    crossing.put(1, loop)
    with pytest.raises(ValueError, match="this one"):
        loop.calls.pop()()
    crossing.put(2, loop)
    loop.calls.pop()()
    assert arrived == [0, 1, 2]


def test_a_closed_loop_is_told_and_nothing_is_kept() -> None:
    arrived: list[int] = []
    crossing, loop = Crossing(arrived.extend), Loop()
    loop.closed = True
    with pytest.raises(RuntimeError, match="closed"):
        crossing.put(0, loop)
    crossing.hand_over()
    assert not arrived


def test_more_may_gather_for_a_while() -> None:
    async def body() -> list[list[int]]:
        loop, arrived, some = asyncio.get_running_loop(), list[list[int]](), asyncio.Event()
        crossing = Crossing(lambda gathered: (arrived.append(list(gathered)), some.set()), after=0.05)
        crossing.put(0, loop)
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the loop has been woken
        crossing.put(1, loop)
        await asyncio.wait_for(some.wait(), 10)
        return arrived

    assert asyncio.run(body()) == [[0, 1]]
