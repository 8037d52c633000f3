"""The states between sent and done, as a caller sees them."""

from __future__ import annotations

import asyncio
import time

import pytest

from celeriac import App, current_task, progress, states

PATIENCE = 20


def until(happened):
    for _ in range(PATIENCE * 100):
        if happened():
            return
        time.sleep(0.01)
    pytest.fail("it never happened")


def test_progress_is_seen_from_threads(ending, fifo):
    with ending.worker():
        seen(ending, fifo)


def test_progress_is_seen_from_children(children, fifo):
    seen(children, fifo)


def seen(ending, fifo):
    result = ending.report.delay(str(fifo))
    until(lambda: result.state == states.PROGRESS)
    assert result.info == {"current": 3, "total": 10, "word": "three"}
    assert not result.ready()
    assert result.result is None
    fifo.write_text("through")
    assert ending.get(result) == "through"
    assert (result.state, result.info) == (states.SUCCESS, "through")


def test_started_is_stored_where_that_is_asked_for(children):
    plain = children.nap.delay("untracked", 0.3)
    children.notes.until("untracked")
    assert plain.state == states.PENDING
    assert plain.info is None
    children.get(plain)


def test_started_is_an_app_s_setting_too():
    app = App("tracked", broker="memory://tracked", track_started=True)
    begun, go_on = [], asyncio.Event()

    @app.task(name="tracked.hold")
    async def hold():
        begun.append(asyncio.get_running_loop())
        await go_on.wait()

    try:
        with app.run_worker(name="celeriac@here"):
            result = hold.delay()
            until(lambda: result.state == states.STARTED)
            assert result.info == {"hostname": "celeriac@here"}
            begun[0].call_soon_threadsafe(go_on.set)
            result.get(timeout=PATIENCE)
    finally:
        app.close()


def test_nothing_is_stored_of_a_task_without_a_result(ending):
    with ending.worker():
        result = ending.silent.delay()
        ending.notes.until("silent")
        assert ending.get(ending.add.delay(1, 2)) == 3
        assert result.state == states.UNKNOWN


def test_an_id_that_was_never_sent_is_unknown_and_one_that_waits_is_pending(ending):
    assert ending.app.AsyncResult("never-sent").state == states.UNKNOWN
    waiting = ending.add.delay(1, 2)
    assert waiting.state == states.PENDING
    waiting.revoke()


def test_a_retry_shows_its_error():
    app = App("again", broker="memory://again")

    @app.task(name="again.fail", bind=True)
    def fail(self):
        self.retry(KeyError("no"), countdown=60)

    try:
        with app.run_worker():
            result = fail.delay()
            until(lambda: result.state == states.RETRY)
            assert isinstance(result.info, KeyError)
    finally:
        app.close()


def test_progress_outside_of_a_task():
    assert current_task() is None
    with pytest.raises(RuntimeError, match="no task runs here"):
        progress(1, 2)
