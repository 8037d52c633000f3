"""How tasks that run where they are sent come to an end: limits, refusals, lifespans, faults."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

import pytest

from celeriac import App, Reject, Snooze, SoftTimeLimitExceeded, TimeLimitExceeded
from celeriac.dead import DeadLetters
from celeriac.errors import CeleriacError, TaskError
from celeriac.testing import Sandbox
from celeriac.testing.sandbox.faults import WorkerCrash


def test_a_soft_limit_is_kept_on_the_main_thread_and_on_others(app):
    @app.task(soft_time_limit=0.1)
    def slow():
        try:
            while True:
                time.sleep(0.01)
        except SoftTimeLimitExceeded:
            return "in time"

    assert slow.delay().get() == "in time"
    results = []
    thread = threading.Thread(target=lambda: results.append(slow.delay().get()))
    thread.start()
    thread.join()
    assert results == ["in time"]


def test_a_hard_limit_ends_a_coroutine_and_lets_a_function_be(make):
    app = make(task_eager_propagates=True)

    @app.task(time_limit=0.1)
    async def forever():
        await asyncio.sleep(3600)

    @app.task(time_limit=0.05)
    def a_while():
        time.sleep(0.1)
        return "done"

    with pytest.raises(TimeLimitExceeded):
        forever.delay()
    assert a_while.delay().get() == "done"


@pytest.mark.parametrize("acks_late", [True, False])
def test_what_is_rejected_is_a_dead_letter(app, acks_late):
    @app.task(acks_late=acks_late)
    def picky():
        raise Reject("no such thing")

    with pytest.raises(TaskError, match="no such thing"):
        picky.delay().get()
    assert [letter.reason for letter in DeadLetters(app).peek()] == (["rejected"] if acks_late else [])


def test_snoozing_goes_on_and_for_ever_is_refused(app):
    naps = []

    @app.task
    def sleepy(times):
        naps.append(times)
        if times is None or len(naps) < times:
            raise Snooze(60)
        return len(naps)

    assert sleepy.delay(5).get() == 5
    with pytest.raises(CeleriacError, match="asks for yet another run after 1000"):
        sleepy.delay(None)


def test_another_program_s_task_stays_in_its_queue(app, add):
    result = app.send_task("other.task", (1,))
    assert result.state == "PENDING"
    assert add.delay(1, 2).get(timeout=0) == 3
    assert result.state == "PENDING"


def test_a_lifespan_surrounds_each_call(app):
    log = []

    @app.lifespan
    async def service():
        log.append("opened")
        yield "the service"
        log.append("closed")

    @app.task(bind=True)
    def use(self):
        return self.request.state

    @app.task(bind=True)
    async def ause(self):
        return self.request.state

    assert [use.delay().get(), ause.delay().get()] == ["the service"] * 2
    assert log == ["opened", "closed"] * 2


def test_a_lifespan_that_fails_is_told_to_the_caller(app, add):
    @app.lifespan
    async def broken():
        raise RuntimeError("no service")
        yield

    with pytest.raises(RuntimeError, match="no service"):
        add.delay(1, 2)


def test_results_that_nobody_wants_are_not_kept(app, add):
    assert add.apply_async((1, 2), ignore_result=True).state == "UNKNOWN"


def test_settings_for_a_locked_down_broker_do_not_matter(make):
    app = make(declare="never", fleet="celery", broker="amqp://nowhere.invalid:1")

    @app.task
    def one():
        return 1

    assert one.delay().get() == 1


def test_in_a_sandbox_it_meets_the_sandbox_s_faults(app, add):
    plain = App("plain", broker="amqp://nowhere.invalid:1")

    @plain.task
    def double(x):
        return 2 * x

    with Sandbox(plain, task_always_eager=True) as box:
        assert double.delay(4).get(timeout=0) == 8
        box.faults.fail_publish("nacked")
        with pytest.raises(CeleriacError, match="nacked"):
            double.delay(4)
        assert box.enqueued() == []


def test_a_process_that_dies_while_it_settles_is_noticed(add):
    with Sandbox(add.app) as box:
        box.faults.crash_after_run()
        with pytest.raises(WorkerCrash):
            add.delay(1, 2)
        assert add.delay(1, 2).get(timeout=5) == 3


def test_ctrl_c_reaches_the_caller(app):
    @app.task
    def interrupted():
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted.delay()
