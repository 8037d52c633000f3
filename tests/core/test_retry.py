from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import ConfigurationError
from celeriac.retry import RetryOptions

RANDOM = Random(1)


def test_classes_say_what_is_tried_again():
    options = RetryOptions(autoretry_for=[OSError], dont_autoretry_for=[FileNotFoundError], default_retry_delay=7)
    assert options.delay_after(ConnectionError(), 1, RANDOM) == 7
    assert options.delay_after(FileNotFoundError(), 1, RANDOM) is None
    assert options.delay_after(ValueError(), 1, RANDOM) is None


def test_the_backoff_doubles_up_to_its_limit():
    options = RetryOptions(retry_backoff=2, retry_backoff_max=timedelta(seconds=10), retry_jitter=False)
    assert [options.backoff(attempt, RANDOM) for attempt in range(1, 6)] == [2, 4, 8, 10, 10]


@given(st.integers(1, 10_000), st.floats(0.01, 1e6), st.floats(0, 1e6), st.randoms(use_true_random=False))
def test_jitter_draws_between_nothing_and_the_backoff(attempt, first, longest, random):
    with_jitter = RetryOptions(retry_backoff=first, retry_backoff_max=longest)
    without = RetryOptions(retry_backoff=first, retry_backoff_max=longest, retry_jitter=False)
    assert 0 <= with_jitter.backoff(attempt, random) <= without.backoff(attempt, random) <= longest


def test_a_policy_decides_instead_of_the_classes():
    options = RetryOptions(autoretry_for=[KeyError], retry_policy=lambda exc, attempt: attempt if exc.args else None)
    assert options.delay_after(ValueError("x"), 3, RANDOM) == 3
    assert options.delay_after(KeyError(), 3, RANDOM) is None


def test_a_policy_that_raises_is_logged_and_the_backoff_used(caplog):
    options = RetryOptions(retry_policy=lambda _exc, _attempt: 1 / 0, default_retry_delay=5)
    assert options.delay_after(KeyError(), 1, RANDOM) == 5
    assert "the retry policy" in caplog.text


def test_limits():
    options = RetryOptions(max_retries=2, retry_for=timedelta(minutes=1))
    assert not options.is_exhausted(2, 0, 0, None)
    assert options.is_exhausted(3, 0, 0, None)
    assert not options.is_exhausted(3, 0, 0, 5)
    assert options.is_exhausted(1, 50, 11, None)
    assert not RetryOptions(max_retries=None).is_exhausted(10_000, 1e9, 0, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_retries": -1},
        {"default_retry_delay": -1},
        {"retry_backoff_max": "10"},
        {"retry_for": timedelta(seconds=-1)},
        {"autoretry_for": ["KeyError"]},
        {"retry_backoff": float("nan")},
    ],
)
def test_options_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        RetryOptions(**wrong)
