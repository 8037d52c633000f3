"""The soft limit, where it is kept."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time

import pytest

from celeriac.errors import SoftTimeLimitExceeded
from celeriac.worker.executors.frames import RECEIVE_BYTES, FrameReader
from celeriac.worker.executors.outbox import Outbox
from celeriac.worker.softlimit import limited_softly, soft_limit

LONG = 30  # seconds; nothing waits so long


def test_no_limit_touches_nothing(monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    with soft_limit(None):
        pass


def test_the_alarm_is_the_task_s_own_again_afterwards():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        with soft_limit(LONG):
            pass
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        signal.raise_signal(signal.SIGALRM)
        assert rung == [1]
        with contextlib.suppress(SoftTimeLimitExceeded), soft_limit(0.01):
            time.sleep(LONG)
        signal.raise_signal(signal.SIGALRM)
        assert rung == [1, 1]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_it_is_raised_once():
    caught = []
    with soft_limit(0.01):
        try:
            time.sleep(LONG)
        except SoftTimeLimitExceeded as error:
            caught.append(str(error))
        time.sleep(0.03)
    assert caught == ["the soft_time_limit of 0.01 s is over"]


def test_it_waits_until_a_frame_is_written():
    """A frame cut off in the middle would spoil all that the process says afterwards."""
    ours, theirs = socket.socketpair()
    rung = threading.Event()
    values = []

    def read():
        rung.wait(LONG)
        frames = FrameReader()
        while data := theirs.recv(RECEIVE_BYTES):
            values.extend(frames.feed(data))

    reader = threading.Thread(target=read)
    reader.start()
    timer = threading.Timer(0.1, rung.set)  # when the alarm has rung for long
    timer.start()
    outbox, body = Outbox(ours), b"x" * (8 << 20)

    def work():
        with soft_limit(0.02):
            outbox.send(("big", body))
            time.sleep(LONG)

    with pytest.raises(SoftTimeLimitExceeded):
        work()
    outbox.send(("after",))
    ours.close()
    reader.join()
    theirs.close()
    timer.join()
    assert values == [("big", body), ("after",)]


def in_thread(function):
    """Return what a function returns in a thread of its own."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_another_thread_gets_it_at_its_next_step():
    def spin():
        try:
            with soft_limit(0.02):
                while True:
                    pass
        except SoftTimeLimitExceeded as error:
            return str(error)

    assert "soft time limit" in in_thread(spin)


def test_another_thread_that_is_done_in_time_gets_nothing():
    def work():
        with soft_limit(0.02):
            pass
        return sum(n for n in range(300_000))

    assert in_thread(work) == 44_999_850_000


def test_a_timer_that_rings_late_does_no_harm():
    def work():
        limit = soft_limit(LONG)
        with limit:
            pass
        limit._ring()
        return sum(n for n in range(300_000))

    assert in_thread(work) == 44_999_850_000


def limited(coroutine, seconds=0.02):
    async def main():
        return await asyncio.create_task(wrapped())

    async def wrapped():
        return await limited_softly(coroutine, seconds)

    return asyncio.run(main())


def test_a_coroutine_in_time_is_left_alone():
    async def work():
        await asyncio.sleep(0)
        return 1

    assert limited(work(), LONG) == 1


def test_what_a_coroutine_raises_goes_through():
    async def work():
        await asyncio.sleep(0)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        limited(work(), LONG)


def test_a_cancellation_that_is_not_ours_stays_one():
    async def main():
        async def work():
            await limited_softly(asyncio.sleep(LONG), LONG)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert not isinstance(caught.value, SoftTimeLimitExceeded)

    asyncio.run(main())


def test_a_cancellation_at_the_same_time_wins():
    async def main():
        async def work():
            await limited_softly(sleep(), 0.01)

        async def sleep():
            asyncio.get_running_loop().call_later(0.01, task.cancel)
            await asyncio.sleep(LONG)

        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = LONG
        task = asyncio.create_task(work())
        loop.call_soon(time.sleep, 0.03)  # both timers are over when the loop looks again
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert not isinstance(caught.value, SoftTimeLimitExceeded)

    asyncio.run(main())


def test_what_is_not_caught_is_the_plain_error():
    async def work():
        await asyncio.sleep(LONG)

    with pytest.raises(SoftTimeLimitExceeded, match=r"0\.02 s") as caught:
        limited(work())
    assert type(caught.value) is SoftTimeLimitExceeded


def test_a_coroutine_may_go_on_after_its_limit():
    async def work():
        with contextlib.suppress(SoftTimeLimitExceeded):
            await asyncio.sleep(LONG)
        await asyncio.sleep(0.05)
        return "went on"

    assert limited(work()) == "went on"
