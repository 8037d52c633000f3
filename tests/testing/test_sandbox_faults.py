"""What a sandbox lets go wrong: the same as on a real broker, at the moment that the test has chosen."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from celeriac import App
from celeriac.dead import DeadLetters
from celeriac.errors import (
    CeleriacError,
    ConfigurationError,
    PublishErrors,
    PublishNacked,
    PublishUnconfirmed,
    Unroutable,
)
from celeriac.testing import Sandbox


@pytest.fixture
def runs():
    return []


@pytest.fixture
def app(runs):
    app = App("faulty", broker="amqp://nowhere.invalid:1")

    @app.task(name="charge")
    def charge(amount):
        runs.append(amount)
        return amount

    @app.task(name="acharge")
    async def acharge(amount):
        runs.append(amount)
        return amount

    @app.task(name="fire", ignore_result=True)
    def fire(amount):
        runs.append(amount)

    return app


@pytest.fixture(params=["thread", "solo"])
def box(app, request):
    with Sandbox(app, pool=request.param) as box:
        yield box


@pytest.mark.parametrize("name", ["charge", "acharge", "fire"])
def test_a_worker_that_dies_before_anything_is_written_runs_the_task_again(app, box, runs, name):
    result = app.tasks[name].delay(17)
    box.faults.crash_after_run()
    box.drain()
    assert runs == [17, 17]
    if name != "fire":
        assert result.get(timeout=0) == 17


@pytest.mark.parametrize("name", ["charge", "acharge"])
def test_a_worker_that_dies_once_the_result_is_stored_does_not(app, box, runs, name):
    result = app.tasks[name].delay(17)
    box.faults.crash_after_result()
    box.drain()
    assert (runs, result.get(timeout=0)) == ([17], 17)


def test_a_fault_happens_once_and_twice_if_it_is_told_twice(app, box, runs):
    box.faults.crash_after_run()
    box.faults.crash_after_run()
    app.tasks["charge"].delay(17)
    box.drain()
    app.tasks["charge"].delay(18)
    box.drain()
    assert runs == [17, 17, 17, 18]


def test_a_crash_is_counted_as_one(app, runs):
    with Sandbox(app, max_lost=1) as box:
        box.faults.crash_after_run()
        app.tasks["charge"].delay(17)
        box.drain(propagate=False)
        assert runs == [17]
        assert [letter.reason for letter in DeadLetters(app).peek()] == ["lost"]


def test_a_standing_worker_is_started_again(app, runs):
    with Sandbox(app) as box, box.worker() as worker:
        box.faults.crash_after_run()
        result = app.tasks["charge"].delay(17)
        assert result.get(timeout=10) == 17
        box.drain()
        assert (runs, worker.crashes) == ([17, 17], 1)


def test_a_lost_connection_is_opened_again_and_loses_nothing(app, box, runs):
    results = [app.tasks["charge"].delay(number) for number in range(3)]
    box.faults.lose_connection()
    results.append(app.tasks["charge"].delay(3))
    with box.worker():
        box.faults.lose_connection()
        results.append(app.tasks["charge"].delay(4))
        box.drain()
    assert [result.get(timeout=0) for result in results] == [0, 1, 2, 3, 4]
    assert sorted(set(runs)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("outcome", "error"),
    [("nacked", PublishNacked), ("returned", Unroutable), ("unconfirmed", PublishUnconfirmed)],
)
def test_a_publish_fails_as_told_once(app, outcome, error):
    with Sandbox(app) as box:
        box.faults.fail_publish(outcome)
        with pytest.raises(error, match="a fault that the test has injected"):
            app.tasks["charge"].delay(1)
        assert box.enqueued() == []
        app.tasks["charge"].delay(2)
        box.assert_enqueued("charge", args=(2,), count=1)


def test_many_fail_together_and_from_a_coroutine_too(app):
    with Sandbox(app) as box:
        box.faults.fail_publish()
        with pytest.raises(PublishErrors) as raised:
            app.tasks["charge"].delay_many([(1,), (2,)])
        assert len(raised.value.failed) == 2
        box.faults.fail_publish()
        with pytest.raises(PublishNacked):
            asyncio.run(app.tasks["charge"].adelay(1))


def test_sends_that_nobody_waits_for_are_seen_and_fail_too(app, caplog):
    charge = app.tasks["charge"]
    with Sandbox(app, publish_confirm="deferred") as box:
        for number in range(50):
            charge.delay(number)
        box.assert_enqueued(charge, count=50)
        box.faults.fail_publish("nacked")
        charge.delay(50)
        with pytest.raises(PublishErrors):
            app.flush()
        assert "whose confirm nobody waited for" in caplog.text
        assert len(box.drain()) == 50


def test_what_is_unconfirmed_may_have_arrived(app, runs):
    with Sandbox(app) as box:
        box.faults.fail_publish("unconfirmed", arrived=True)
        with pytest.raises(PublishUnconfirmed):
            app.tasks["charge"].apply_async((1,), task_id="the-one")
        app.tasks["charge"].apply_async((1,), task_id="the-one")  # sent again under its id
        assert len(box.enqueued()) == 2
        box.drain()


@pytest.mark.parametrize(("outcome", "arrived"), [("lost", False), ("nacked", True)])
def test_an_outcome_that_there_is_not_is_refused(app, outcome, arrived):
    with Sandbox(app) as box, pytest.raises(ConfigurationError, match="use one of returned, nacked, unconfirmed"):
        box.faults.fail_publish(outcome, arrived=arrived)


def test_a_worker_that_ends_by_itself_is_told(app):
    with Sandbox(app) as box, ExitStack() as stack:
        worker = stack.enter_context(box.worker())
        worker._running.ask(lambda working: working._fail("its pool cannot go on"))
        box.drain()  # is not kept waiting
        with pytest.raises(CeleriacError, match=r"ended by itself.*its pool cannot go on"):
            stack.close()


def test_a_worker_that_cannot_begin_says_why(app):
    @app.lifespan
    async def service():
        raise RuntimeError("no service")
        yield

    with Sandbox(app) as box, pytest.raises(RuntimeError, match="no service"), box.worker():
        pass
