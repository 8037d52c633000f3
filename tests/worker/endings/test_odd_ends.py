"""Coroutines that end in ways of their own: each is a failure that its caller hears of, and no other's affair."""

from __future__ import annotations

import asyncio

import pytest

from celeriac import App, Retry, Snooze
from celeriac.errors import CeleriacError
from celeriac.retry import RetryOptions

PATIENCE = 10


@pytest.fixture
def app():
    app = App("odd", broker="memory://")

    @app.task(name="odd.generator_exit")
    async def generator_exit():
        raise GeneratorExit

    @app.task(name="odd.cancels_itself")
    async def cancels_itself():
        asyncio.current_task().cancel()
        await asyncio.sleep(60)

    @app.task(name="odd.cancelled_and_then_another")
    async def cancelled_and_then_another():
        asyncio.current_task().cancel()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

    @app.task(name="odd.retries_for_ever_after")
    def retries_for_ever_after():
        raise Retry(countdown=float("inf"))

    @app.task(name="odd.snoozes_for_ever")
    def snoozes_for_ever():
        raise Snooze(1e13)

    @app.task(name="odd.fine")
    async def fine(number):
        return number

    yield app
    app.close()


ODD = [
    "generator_exit",
    "cancels_itself",
    "cancelled_and_then_another",
    "retries_for_ever_after",
    "snoozes_for_ever",
]


@pytest.mark.parametrize("name", ODD)
def test_it_has_failed_and_its_neighbours_succeed(app, name):
    with app.run_worker(pool="thread", concurrency=1):
        odd = app.send_task(f"odd.{name}")
        neighbours = app.tasks["odd.fine"].delay_many([(number,) for number in range(20)])
        assert [each.get(timeout=PATIENCE) for each in neighbours] == list(range(20))
        assert isinstance(odd.get(timeout=PATIENCE, propagate=False), BaseException)
        assert odd.state == "FAILURE"


@pytest.mark.parametrize(
    "options",
    [
        {"default_retry_delay": float("inf")},
        {"retry_backoff": float("inf")},
        {"retry_backoff_max": float("nan")},
        {"retry_for": 1e12},
        {"retry_policy": 5},
    ],
)
def test_what_is_no_delay_is_refused_where_it_is_declared(options):
    with pytest.raises(CeleriacError):
        RetryOptions(**options)


def test_a_policy_that_returns_no_delay_falls_back_to_the_backoff(app, caplog):
    from random import Random

    options = RetryOptions(retry_policy=lambda error, attempt: float("inf"), default_retry_delay=7)
    assert options.delay_after(ValueError(), 1, Random(1)) == 7
    assert "retry policy" in caplog.text
