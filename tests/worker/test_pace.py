"""How much a worker takes ahead of what it can run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.worker.pace import AHEAD_SECONDS, MOST_AHEAD, STUCK_SECONDS, UNIFORM, Pace


def measured(seconds: float, slots: int = 2, runs: int = 200) -> Pace:
    pace = Pace(slots, 100)
    for _ in range(runs):
        pace.took(0, is_async=False)
        pace.gave(0, is_async=False, seconds=seconds)
    return pace


def test_nothing_is_known_at_first_so_one_message_a_slot_is_taken_ahead() -> None:
    assert Pace(3, 100).target == 6


@pytest.mark.parametrize(("seconds", "ahead"), [(10.0, 0), (0.06, 0), (0.025, 2), (0.01, 5), (0.001, 50)])
def test_about_fifty_milliseconds_of_measured_work_are_held_ahead(seconds: float, ahead: int) -> None:
    assert measured(seconds * 0.999).target == 2 + 2 * ahead
    assert ahead * seconds <= AHEAD_SECONDS


def test_however_short_the_tasks_there_is_a_bound() -> None:
    assert measured(0.0).target == 2 + MOST_AHEAD


def test_a_change_of_pace_is_followed_within_some_tens_of_tasks() -> None:
    pace = measured(0.0001)
    for _ in range(60):
        pace.took(0, is_async=False)
        pace.gave(0, is_async=False, seconds=5.0)
    assert pace.target == 2


def test_a_job_that_was_given_back_says_nothing_of_the_pace() -> None:
    pace = measured(1.0)
    before = pace.target
    pace.took(0, is_async=False)
    pace.gave(0, is_async=False)
    assert pace.target == before


def test_coroutines_fill_the_loop_once_nothing_else_has_come_for_a_while() -> None:
    pace = Pace(2, 100)
    for held in range(1, UNIFORM):
        pace.took(0, is_async=True)
        assert pace.target == 2 + 2 + held, "the next may be a def task, which must not be stranded"
    pace.took(0, is_async=True)
    assert pace.target == 102
    pace.took(0, is_async=False)
    assert pace.target == 2 + 2 + UNIFORM


def test_slots_that_stay_busy_for_long_are_stuck() -> None:
    pace = Pace(2, 100)
    pace.took(0.0, is_async=False)
    assert not pace.is_stuck(99), "a slot is free"
    pace.took(5.0, is_async=False)
    assert not pace.is_stuck(5.0 + STUCK_SECONDS - 0.01)
    assert pace.is_stuck(5.0 + STUCK_SECONDS)
    pace.gave(7.0, is_async=False, seconds=7.0)
    assert not pace.is_stuck(99)


def test_a_slot_that_came_free_and_was_filled_again_is_not_stuck() -> None:
    pace = Pace(1, 100)
    for _ in range(3):
        pace.took(0.0, is_async=False)
    pace.gave(0.5, is_async=False, seconds=0.5)
    assert not pace.is_stuck(STUCK_SECONDS)
    assert pace.is_stuck(0.5 + STUCK_SECONDS)


def test_what_is_given_back_unbegun_frees_no_slot() -> None:
    pace = Pace(1, 100)
    for _ in range(3):
        pace.took(0.0, is_async=False)
    assert pace.is_stuck(STUCK_SECONDS)
    pace.gave_back(is_async=False)
    pace.gave_back(is_async=False)
    assert pace.is_stuck(STUCK_SECONDS), "else it would be taken again at once"
    pace.gave_back(is_async=False)
    assert not pace.is_stuck(99)
    pace.took(0.0, is_async=True)
    pace.gave_back(is_async=True)
    assert (pace.sync_held, pace.async_held) == (0, 0)


def test_coroutines_alone_are_never_stuck() -> None:
    pace = Pace(1, 100)
    pace.took(0.0, is_async=False)
    for _ in range(UNIFORM):
        pace.took(0.0, is_async=True)
    assert not pace.is_stuck(99)


def test_a_slot_is_free_while_fewer_are_held_than_there_are() -> None:
    pace = Pace(1, 100)
    assert pace.has_free_slot
    pace.took(0, is_async=True)
    assert pace.has_free_slot
    pace.took(0, is_async=False)
    assert not pace.has_free_slot


@given(
    slots=st.integers(1, 64),
    steps=st.lists(st.tuples(st.booleans(), st.floats(0, 1e6, allow_nan=False)), max_size=60),
)
def test_the_target_lets_every_slot_work_and_stays_bounded(slots: int, steps: list[tuple[bool, float]]) -> None:
    pace, now = Pace(slots, 100), 0.0
    for is_async, seconds in steps:
        pace.took(now, is_async=is_async)
        assert slots <= pace.target <= slots + max(MOST_AHEAD, slots) + 100 + len(steps)
        now += seconds
        pace.gave(now, is_async=is_async, seconds=seconds)
    assert (pace.sync_held, pace.async_held) == (0, 0)
