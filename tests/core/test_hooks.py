"""The hooks that observe: resolved once, called as they are, never heeded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from celeriac import App, events
from celeriac.hooks import TASK_HOOKS
from celeriac.hookspecs import hookimpl


class Everything:
    """Implements every hook that observes, each with another choice of arguments."""

    def __init__(self):
        self.told = []

    @hookimpl
    def celeriac_worker_started(self, node, app):
        self.told.append(("started", app.main, node))

    @hookimpl
    def celeriac_worker_stopped(self, node):
        self.told.append(("stopped", node))

    @hookimpl
    def celeriac_executor_started(self):
        self.told.append(("executor started",))

    @hookimpl
    def celeriac_executor_stopped(self, app):
        self.told.append(("executor stopped", app.main))

    @hookimpl
    def celeriac_task_received(self, event):
        self.told.append((event,))

    @hookimpl
    def celeriac_task_refused(self, event):
        self.told.append((event,))

    @hookimpl
    def celeriac_task_started(self):
        self.told.append(("task started",))

    @hookimpl
    def celeriac_task_finished(self, event):
        self.told.append((event,))

    @hookimpl
    def celeriac_task_unsuccessful(self, event):
        self.told.append(("unsuccessful", event.why))

    @hookimpl
    def celeriac_task_settled(self, event):
        self.told.append((event,))


@pytest.fixture
def app():
    app = App("hooked", broker="memory://")

    @app.task(name="half")
    def half(x):
        return 1 / x

    yield app
    app.close()


def work(app):
    app.send_task("no.such.task")
    results = [app.tasks["half"].delay(x) for x in (2, 0)]
    with app.run_worker(concurrency=1, name="w@here", queues=["celeriac"]):
        for result in results:
            result.get(timeout=10, propagate=False)


def test_every_hook_is_told(app):
    plugin = Everything()
    app.plugins.register(plugin)
    work(app)
    names = [type(first).__name__ if not isinstance(first, str) else first for first, *_ in plugin.told]
    assert plugin.told[-1] == ("stopped", "w@here")
    assert ("started", "hooked", "w@here") in plugin.told
    assert ("executor stopped", "hooked") in plugin.told
    assert names.index("executor started") < names.index("started") < names.index("Received")
    assert names.count("Received") == names.count("task started") == 2
    assert (names.count("Finished"), names.count("Unsuccessful"), names.count("unsuccessful")) == (1, 1, 1)
    assert names.count("Refused") == 1
    assert names.count("Settled") == 3
    assert all(event.attempt == 1 for event, *_ in plugin.told if type(event).__name__ in {"Received", "Finished"})


def test_only_what_is_wanted_is_made(app):
    class Failures:
        @hookimpl
        def celeriac_task_unsuccessful(self, event):
            seen.append(event.why)

    seen = []
    app.plugins.register(Failures())
    assert [kind.__name__ for _, kind in app.hooks.observers()] == ["Unsuccessful"]
    work(app)
    assert seen == ["failed"]


def test_one_that_raises_is_logged_and_harms_nobody(app, caplog):
    class Broken:
        @hookimpl
        def celeriac_worker_started(self):
            raise RuntimeError("no dashboard")

        celeriac_executor_started = celeriac_worker_started
        celeriac_executor_stopped = celeriac_worker_started
        celeriac_worker_stopped = celeriac_worker_started

        @hookimpl
        def celeriac_task_finished(self, event):
            raise RuntimeError("no statsd")

    plugin = Everything()
    app.plugins.register(plugin)
    app.plugins.register(Broken(), "broken")
    work(app)
    assert plugin.told[-1] == ("stopped", "w@here")
    messages = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    for hook in ("worker_started", "worker_stopped", "executor_started", "executor_stopped"):
        assert f"the plugin broken failed in celeriac_{hook}" in messages
    assert sum(message.startswith("an observer failed") for message in messages) == 2


def test_a_wrapper_and_a_wrong_name_are_told(app, caplog):
    class Odd:
        @hookimpl(wrapper=True)
        def celeriac_task_finished(self, event):
            return (yield)

        @hookimpl
        def celeriac_taks_started(self, event): ...

    app.plugins.register(Odd(), "odd")
    assert not list(app.hooks.observers())
    said = [record.getMessage() for record in caplog.records]
    assert (
        "the plugin odd implements celeriac_taks_started, which is no hook; did you mean 'celeriac_task_started'?"
        in said
    )
    assert "the plugin odd wraps celeriac_task_finished, which cannot be wrapped; it is not called" in said


def test_another_app_is_not_told(app):
    plugin = Everything()
    App("other", broker="memory://").plugins.register(plugin)
    work(app)
    assert not plugin.told


def test_each_kind_of_event_has_a_hook():
    kinds = {each for each in vars(events).values() if isinstance(each, type) and issubclass(each, events.TaskEvent)}
    assert kinds - {events.TaskEvent, events.AttemptEvent} == set(TASK_HOOKS.values())


PROGRAM = """
from celeriac import App, events
from celeriac.hookspecs import hookimpl

class Plugin:
    @hookimpl
    def celeriac_task_started(self, event): ...
    @hookimpl
    def celeriac_middleware(self, app): return []
    @hookimpl
    def celeriac_worker_started(self, node): ...

app = App("traced", broker="memory://")
app.plugins.register(Plugin(), "mine")

@app.task(name="t")
def t(): ...

with app.run_worker(concurrency=1):
    t.delay().get(timeout=10)
app.close()
"""


def test_every_call_is_traced():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={"CELERIAC_PLUGIN_TRACE": "1"}, capture_output=True, text=True, check=True
    )
    for line in (
        "celeriac_middleware [mine]",
        "celeriac_worker_started [mine] 'celeriac@",
        "celeriac_task_started [mine]",
    ):
        assert f"  {line}" in done.stderr
    assert done.stderr.count("celeriac_task_started [mine] Started(task_id=") == 1
