"""What programs that come from Celery declare before there is an App."""

from __future__ import annotations

import copy
import gc
import threading

import pytest

from celeriac import App, registry
from celeriac.compat import shared_task
from celeriac.errors import ConfigurationError, UnknownOption
from celeriac.testing import Sandbox


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Declare for the Apps of one test."""
    monkeypatch.setattr(registry, "_declarations", [])
    monkeypatch.setattr(registry, "_apps", [])


def make(main="shared"):
    return App(main, broker="memory://")


def test_every_app_adopts_it_made_before_or_after():
    before = make("before")

    @shared_task(name="add", queue="sums")
    def add(x, y):
        return x + y

    after = make("after")
    for app in (before, after):
        assert list(app.tasks) == ["add"]
        assert app.tasks["add"].app is app
        assert app.tasks["add"].defaults.queue == "sums"
    assert before.tasks["add"] is not after.tasks["add"]


def test_one_that_is_declared_late_is_adopted_too():
    app = make()
    assert len(app.tasks) == 0

    @shared_task(name="late")
    async def late(): ...

    assert app.tasks["late"].is_async
    assert "late" in app.tasks


def test_calls_go_to_the_app_that_was_made_last():
    @shared_task(name="add")
    def add(x, y):
        return x + y

    first, last = make(), make()
    with Sandbox(first) as one, Sandbox(last) as other:
        add.delay(1, 2)
        other.assert_enqueued(add, args=(1, 2))
        assert one.enqueued() == []
        other.drain()
    assert (add.app, add.name) == (last, "add")


def test_an_app_in_a_sandbox_counts_as_the_last():
    @shared_task(name="add")
    def add(x, y):
        return x + y

    tested, last = make(), make()
    with Sandbox(tested) as box:
        add.delay(1, 2)
        box.assert_enqueued(add, args=(1, 2))
        assert add.app is tested
    assert add.app is last


def test_it_goes_on_with_an_older_app_when_that_one_is_gone():
    @shared_task(name="one")
    def one(): ...

    first = make()
    made = make()
    assert one.app is made
    del made
    gc.collect()
    assert one.app is first


def test_apps_that_are_gone_leave_nothing_behind():
    for _ in range(100):
        make()
        gc.collect(0)
    gc.collect()
    kept = make()
    assert registry.apps() == [kept]
    assert len(registry._apps) == 1


def test_without_an_app_it_says_what_to_do():
    @shared_task
    def lonely(): ...

    with pytest.raises(ConfigurationError, match="import the module that makes yours first"):
        lonely.delay()


def test_it_stays_callable_and_says_what_it_is():
    @shared_task
    def add(x, y):
        """Add."""
        return x + y

    @shared_task(bind=True, name="who")
    def who(self):
        return self.name

    assert add(1, 2) == 3
    assert (add.__doc__, add.__name__, add.__wrapped__(2, 3)) == ("Add.", "add", 5)
    assert repr(add).startswith("<shared task: ")
    make_app = make()
    assert who() == "who"
    assert copy.copy(add)(1, 1) == 2
    assert make_app.tasks


def test_an_unknown_option_is_refused_at_once():
    with pytest.raises(UnknownOption, match="did you mean 'queue'"):
        shared_task(queu="x")


def test_two_functions_of_one_name_are_refused_when_they_are_adopted():
    @shared_task(name="same")
    def one(): ...

    @shared_task(name="same")
    def other(): ...

    with pytest.raises(ConfigurationError, match="is taken"):
        list(make().tasks)


def test_many_threads_may_be_the_first_to_look():
    for _ in range(20):

        @shared_task(name="add")
        def add(): ...

    app, seen = make(), []
    threads = [threading.Thread(target=lambda: seen.append(app.tasks["add"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 1


def test_a_worker_runs_it():
    @shared_task(name="double")
    def double(x):
        return 2 * x

    app = make()
    with app.run_worker(concurrency=1):
        assert double.delay(21).get(timeout=10) == 42
    app.close()
