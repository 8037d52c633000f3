"""Tasks that run where they are sent, through the rooms of a worker: ``task_always_eager``."""

from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from celeriac import Exchange, Queue, Route
from celeriac.errors import (
    EncodeError,
    MessageTooLarge,
    ResultError,
    TaskRevoked,
    Unroutable,
    Unsupported,
)

marked: ContextVar[str] = ContextVar("marked", default="-")


def test_the_result_is_there_when_the_call_returns(add):
    result = add.delay(1, 2)
    assert (result.state, result.get(timeout=0)) == ("SUCCESS", 3)


def test_it_runs_on_the_caller_s_thread_in_its_context(app):
    @app.task
    def where():
        return threading.get_ident(), marked.get()

    marked.set("the caller's")
    try:
        assert where.delay().get() == [threading.get_ident(), "the caller's"]
    finally:
        marked.set("-")


def test_nothing_skips_the_encoding_of_arguments_and_results(app):
    seen = []

    @app.task
    def keep(value):
        seen.append(value)
        return {1: (value,)}

    given = {"a": (1, 2)}
    assert keep.delay(given).get() == {"1": [{"a": [1, 2]}]}
    assert seen == [{"a": [1, 2]}]
    with pytest.raises(EncodeError):
        keep.delay(object())


def test_a_result_that_cannot_be_encoded_is_a_failure(app):
    @app.task
    def bad():
        return object()

    with pytest.raises(EncodeError, match="cannot be carried"):
        bad.delay().get()


def test_an_exception_comes_at_get(app):
    @app.task
    def broken():
        raise ValueError("broken")

    result = broken.delay()
    assert result.state == "FAILURE"
    with pytest.raises(ValueError, match="broken"):
        result.get(timeout=0)


def test_or_at_the_call_if_it_is_to_propagate(make):
    app = make(task_eager_propagates=True)

    @app.task
    def broken():
        raise ValueError("broken")

    @app.task
    async def abroken():
        raise ValueError("broken")

    for task in (broken, abroken):
        with pytest.raises(ValueError, match="broken"):
            task.delay()
        with pytest.raises(ValueError, match="broken"):
            asyncio.run(task.adelay())
    with pytest.raises(ValueError, match="broken"), app.batch():
        broken.delay()


def test_retries_wait_for_nothing(app):
    attempts = []

    @app.task(bind=True, autoretry_for=(OSError,), max_retries=3, default_retry_delay=3600)
    def flaky(self, give_up):
        attempts.append((self.request.attempt, len(self.request.history)))
        if give_up or self.request.attempt < 3:
            raise OSError("not yet")
        return "at last"

    begun = time.monotonic()
    assert flaky.delay(give_up=False).get() == "at last"
    assert attempts == [(1, 0), (2, 1), (3, 2)]
    attempts.clear()
    with pytest.raises(OSError, match="not yet"):
        flaky.delay(give_up=True).get()
    assert [attempt for attempt, _ in attempts] == [1, 2, 3, 4]
    assert time.monotonic() - begun < 10


def test_a_failure_that_a_later_attempt_makes_good_does_not_propagate(make):
    app = make(task_eager_propagates=True)

    @app.task(bind=True, autoretry_for=(OSError,), max_retries=1)
    def flaky(self):
        if self.request.attempt == 1:
            raise OSError
        return "good"

    assert flaky.delay().get() == "good"


def test_what_is_due_later_runs_now_and_what_has_expired_does_not(add):
    assert add.apply_async((1, 2), countdown=3600).get(timeout=0) == 3
    assert add.apply_async((1, 2), countdown=60, expires=3600).get(timeout=0) == 3
    with pytest.raises(TaskRevoked, match="expired"):
        add.apply_async((1, 2), countdown=3600, expires=60).get(timeout=0)


def test_tasks_send_tasks(app, add):
    @app.task
    def outer(depth):
        return outer.delay(depth - 1).id if depth else add.delay(1, 2).id

    result = outer.delay(10)
    for _ in range(11):
        result = app.AsyncResult(result.get(timeout=0))
    assert result.get(timeout=0) == 3


def test_a_task_may_not_wait_for_another_as_in_a_worker(app, add):
    @app.task
    def outer():
        return add.delay(1, 2).get()

    with pytest.raises(ResultError, match="waits for another task inside a task"):
        outer.delay().get()


@pytest.mark.filterwarnings("ignore:a blocking celeriac call")
def test_coroutines_run_and_send_each_other(app, add):
    @app.task
    async def inner(x):
        await asyncio.sleep(0)
        return x

    @app.task
    async def outer(x):
        return [await (await inner.adelay(x)).aget(allow_join=True), (await add.adelay(x, x)).id, inner.delay(x).id]

    async def main():
        return await (await outer.adelay(5))

    one, two, three = asyncio.run(main())
    assert (one, app.AsyncResult(two).get(), app.AsyncResult(three).get()) == (5, 10, 5)
    assert outer.delay(6).get()[0] == 6


def test_many_threads_at_once_run_each_their_own(app):
    where = {}
    begin = threading.Barrier(8)

    @app.task
    def note(number):
        where[number] = threading.current_thread()
        return number

    failures = []

    def send(numbers):
        here = threading.current_thread()
        for number in numbers:
            begin.wait(30)
            if note.delay(number).state != "SUCCESS" or where.get(number) is not here:
                failures.append(number)

    threads = [threading.Thread(target=send, args=[range(first, 400, 8)]) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_bulk_and_batch(app, add):
    assert [result.get(timeout=0) for result in add.delay_many([(n, n) for n in range(1200)])][-1] == 2398
    with app.batch():
        result = add.delay(1, 2)
        assert result.state == "UNKNOWN"
    assert result.get(timeout=0) == 3


def test_routing_is_the_app_s(make):
    events = Exchange("events", "topic")
    app = make(
        queues=[Queue("one", exchange=events, routing_key="a.*"), Queue("two", exchange=events, routing_key="*.b")],
        routes={"eager.note": Route(events, "a.b")},
    )
    seen = []

    @app.task(bind=True, name="eager.note")
    def note(self):
        seen.append(self.request.queue)

    note.delay()
    assert sorted(seen) == ["one", "two"]
    with pytest.raises(Unroutable):
        note.apply_async(exchange="events", routing_key="nowhere")
    with pytest.raises(Unroutable, match="no exchange"):
        note.apply_async(exchange="unknown", routing_key="a.b")
    with pytest.raises(Unsupported, match="priorit"):
        note.apply_async(queue="one", priority=5)
    assert len(seen) == 2


def test_a_message_that_is_too_large_is_refused(make):
    app = make(max_message_bytes=100)

    @app.task
    def take(text): ...

    with pytest.raises(MessageTooLarge):
        take.delay("x" * 200)
