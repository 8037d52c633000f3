"""A worker inside the caller's process, seen from the threads around it."""

from __future__ import annotations

import threading

import pytest

from celeriac import App
from celeriac.errors import UnknownOption
from celeriac.events import Finished


@pytest.fixture
def app():
    app = App("here", broker="memory://")

    @app.task(name="add")
    def add(x, y):
        return x + y

    yield app
    app.close()


def test_it_is_prepared_before_it_begins(app):
    told, ended = [], threading.Event()

    def prepare(worker):
        assert not worker.ready.is_set()
        worker.observers.add(lambda event: (told.append(event), ended.set()), Finished)

    result = app.tasks["add"].delay(1, 2)
    with app.run_worker(prepare=prepare, concurrency=1):
        assert ended.wait(10)
    assert [event.task_id for event in told] == [result.id]


def test_it_is_asked_on_its_own_loop_and_silent_once_it_has_ended(app):
    running = app.run_worker(concurrency=1)
    assert running.ask(lambda _: threading.current_thread().name) is None
    with running:
        assert running.ask(lambda _: threading.current_thread().name) == "celeriac-worker"
        assert running.ask(lambda worker: worker.options.pool) == "thread"
    assert running.ask(lambda _: "still there") is None


def test_it_can_be_stopped_and_waited_for(app):
    with app.run_worker(concurrency=1) as running:
        running.stop()
        running.join()
        assert running.ask(lambda _: "still there") is None
        running.stop()
    assert running.error is None


def test_an_unknown_option_is_refused(app):
    with pytest.raises(UnknownOption, match="did you mean 'concurrency'"):
        app.run_worker(concurency=1)
