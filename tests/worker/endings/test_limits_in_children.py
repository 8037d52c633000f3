"""Time limits through all rooms, with child processes on SQLite."""

from __future__ import annotations

import time

import pytest

from celeriac import SoftTimeLimitExceeded, TimeLimitExceeded
from celeriac.errors import TaskError


def test_a_task_that_holds_the_gil_fails_at_its_limit_and_its_neighbour_succeeds_elsewhere(children):
    child = children.get(children.pid.delay())
    neighbour = children.nap.delay("beside the hog", 1)
    children.notes.until("beside the hog")
    sent = time.monotonic()
    with pytest.raises(TimeLimitExceeded, match=r"longer than its time_limit of 0\.5 s"):
        children.get(children.hog.delay())
    assert 0.5 <= time.monotonic() - sent < 3
    assert children.get(neighbour) != child
    record = children.app.client.portal.run(children.app.client.look(neighbour.id))
    assert (record.attempt, record.history) == (1, ())


def test_a_limit_of_the_call(children):
    with pytest.raises(TimeLimitExceeded, match=r"0\.3 s"):
        children.get(children.wait.options(time_limit=0.3).delay("of the call"))


def test_a_coroutine_is_cancelled_at_its_limit_and_its_child_lives(children):
    child = children.get(children.pid.delay())
    with pytest.raises(TimeLimitExceeded):
        children.get(children.await_.options(time_limit=0.2).delay("to be cancelled"))
    assert "to be cancelled cancelled" in children.notes.all()
    assert children.get(children.pid.delay()) == child


def test_a_coroutine_that_swallows_its_cancellation_is_killed(children):
    child = children.get(children.pid.delay())
    sent = time.monotonic()
    with pytest.raises(TimeLimitExceeded):
        children.get(children.stubborn.options(time_limit=0.1).delay("stubborn"))
    assert time.monotonic() - sent >= 1.1
    assert children.get(children.pid.delay()) != child


def test_a_soft_limit_lets_a_task_tidy_up(children):
    assert children.get(children.tidy.delay()) == "tidied up"


def test_a_soft_limit_may_be_tried_again(children):
    with pytest.raises(SoftTimeLimitExceeded):
        children.get(children.atry.delay())
    assert children.notes.all().count("atry") == 2


def test_what_was_acknowledged_early_fails_at_its_limit_too(children):
    with pytest.raises(TimeLimitExceeded):
        children.get(children.early.delay())


def test_a_neighbour_that_was_acknowledged_early_is_told_why_it_never_ends(children):
    neighbour = children.app.send_task("ending_app.nap", ("early neighbour", 60))
    children.notes.until("early neighbour")
    neighbour.revoke()
    children.error(neighbour)
    early = children.early.options(time_limit=60).delay()
    hogging = children.stubborn.options(time_limit=0.1).delay("stubborn beside early")
    assert isinstance(children.error(hogging), TimeLimitExceeded)
    error = children.error(early)
    assert isinstance(error, TaskError)
    assert "interrupted" in str(error)


def test_a_task_in_time_is_left_alone(children):
    assert children.get(children.add.options(time_limit=30, soft_time_limit=20).delay(1, 2)) == 3
