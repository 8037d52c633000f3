"""Time in a sandbox: put forward by the test, and everything at its moment."""

from __future__ import annotations

from datetime import timedelta

import pytest

from celeriac import Snooze
from celeriac.errors import TaskRevoked
from celeriac.testing import NotDrained


def test_what_is_due_later_waits_for_its_time(shop, box):
    shop.charge.apply_async((17,), countdown=3600)
    assert box.drain() == []
    box.advance(3590)
    assert box.drain() == []
    box.advance(10)
    assert len(box.drain()) == 1


def test_retries_come_at_their_moments_without_waiting(shop, box):
    with box.worker():
        result = shop.flaky.delay()
        box.advance(4000)
        assert result.get(timeout=0) == "at last"
    moments = [(later - sooner).total_seconds() for sooner, later in zip(shop.done, shop.done[1:], strict=False)]
    assert len(moments) == 3
    assert all(600 <= seconds < 630 for seconds in moments), moments


def test_advancing_stops_where_it_was_told_to(shop, box):
    before = box.clock.now()
    with box.worker():
        for minutes in range(1, 6):
            shop.charge.apply_async((minutes,), countdown=60 * minutes)
        box.advance(150)
        assert [run[0] for run in shop.done] == [1, 2]
        box.advance(3600)
        assert [run[0] for run in shop.done] == [1, 2, 3, 4, 5]
    passed = box.clock.now() - before
    assert timedelta(seconds=3750) <= passed < timedelta(seconds=3750 + 60)


def test_what_has_expired_is_not_run(shop, box):
    result = shop.charge.apply_async((17,), expires=60)
    box.advance(61)
    box.drain()
    assert (result.state, shop.done) == ("REVOKED", [])
    with pytest.raises(TaskRevoked):
        result.get(timeout=0)


def test_time_does_not_go_back(box):
    with pytest.raises(ValueError, match="does not go back"):
        box.advance(-1)


def test_a_task_that_hangs_does_not_hang_the_advance(shop, box):
    with box.worker():
        shop.wait.delay()
        with pytest.raises(NotDrained, match=r"shop\.wait"):
            box.advance(10, timeout=0.2)
        shop.hold.set()


def test_a_task_that_comes_again_and_again_does_not_hold_up_the_test(shop, box):
    @shop.app.task
    def poll():
        raise Snooze(1)

    with box.worker():
        poll.delay()
        with pytest.raises(NotDrained, match="poll"):
            box.advance(1_000_000, timeout=0.3)


def test_a_task_that_has_exhausted_its_retries_is_a_failure(shop, box):
    @shop.app.task(name="shop.exhausted", autoretry_for=(OSError,), max_retries=1, default_retry_delay=5)
    def exhausted():
        raise OSError("gone")

    exhausted.delay()
    box.drain()
    box.advance(10)
    with pytest.raises(OSError, match="gone"):
        box.drain()
