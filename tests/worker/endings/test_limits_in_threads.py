"""Time limits where nothing can be killed."""

from __future__ import annotations

import asyncio

import pytest

from celeriac import App, SoftTimeLimitExceeded, TimeLimitExceeded
from celeriac.errors import ConfigurationError, TaskError

PATIENCE = 20


@pytest.fixture
def app():
    app = App("threads", broker="memory://")
    yield app
    app.close()


def declare(app, **options):
    @app.task(name="threads.wait", **options)
    async def wait():
        await asyncio.sleep(60)

    return wait


@pytest.mark.parametrize("pool", ["thread", "solo"])
def test_a_worker_refuses_to_start_for_a_task_whose_limit_it_cannot_enforce(app, pool):
    declare(app, time_limit=1)
    with pytest.raises(ConfigurationError, match=rf"the {pool} pool .* threads\.wait.*soft_limits_only"):
        app.run_worker(pool=pool).__enter__()


def test_a_worker_refuses_a_limit_of_its_own_that_it_cannot_enforce(app):
    with pytest.raises(ConfigurationError, match="the worker itself"):
        app.run_worker(time_limit=1).__enter__()


def test_a_call_with_a_limit_that_cannot_be_enforced_fails_and_says_so(app):
    wait = declare(app)
    with app.run_worker():
        error = wait.options(time_limit=0.1).delay().get(timeout=PATIENCE, propagate=False)
    assert isinstance(error, ConfigurationError)
    assert "cannot end a task" in str(error)
    assert "--soft-limits-only" in str(error)


def test_soft_limits_only_takes_them_and_cancels_coroutines(app):
    wait = declare(app, time_limit=0.1)
    with app.run_worker(soft_limits_only=True), pytest.raises(TimeLimitExceeded):
        wait.delay().get(timeout=PATIENCE)


def test_soft_limits_only_tells_of_a_def_task_that_goes_on(app, caplog):
    @app.task(name="threads.work", time_limit=0.05)
    def work():
        while not caplog.records:
            pass
        return "went on"

    @app.task(name="threads.limited")
    def limited():
        while True:
            pass

    with app.run_worker(soft_limits_only=True):
        softly = limited.options(soft_time_limit=0.05).delay()
        assert isinstance(softly.get(timeout=PATIENCE, propagate=False), SoftTimeLimitExceeded)
        sent = work.delay()
        assert sent.get(timeout=PATIENCE) == "went on"
    assert "goes on: nothing can end it here" in caplog.text


def test_a_soft_limit_of_the_worker_is_for_tasks_that_do_not_say(app):
    wait = declare(app)
    with app.run_worker(soft_time_limit=0.1):
        error = wait.delay().get(timeout=PATIENCE, propagate=False)
        assert isinstance(error, SoftTimeLimitExceeded)
        assert not isinstance(error, TaskError)


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan"), "soon", [1]])
@pytest.mark.parametrize("name", ["time_limit", "soft_time_limit"])
def test_a_limit_that_cannot_be_kept_is_refused_where_it_is_given(app, name, limit):
    with pytest.raises(ConfigurationError, match=name):
        declare(app, **{name: limit})
    wait = declare(app)
    with pytest.raises(ConfigurationError, match=name):
        wait.apply_async(**{name: limit})
    with pytest.raises(ConfigurationError, match=name):
        App("x", broker="memory://", **{name: limit})


def test_a_soft_limit_beyond_the_hard_one_is_refused(app):
    with pytest.raises(ConfigurationError, match="the soft one comes first"):
        declare(app, time_limit=1, soft_time_limit=2)
    with pytest.raises(ConfigurationError, match="the soft one comes first"):
        declare(app, time_limit=1).apply_async(soft_time_limit=2)
    with pytest.raises(ConfigurationError, match="the soft one comes first"):
        App("x", broker="memory://", time_limit=1, soft_time_limit=2)
