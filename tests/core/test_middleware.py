"""Middleware around publish and run: its order, what it may change, and what it cannot hide."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from celeriac import App, Reject, current_task
from celeriac.errors import ConfigurationError, PluginError, PublishError, PublishErrors, Unroutable
from celeriac.hookspecs import hookimpl
from celeriac.middleware import Middleware


class Told(Middleware):
    """Tells before and after all it stands around."""

    def __init__(self, name, told):
        self.name = name
        self.told = told

    @contextlib.contextmanager
    def around(self, what):
        self.told.append(f"{self.name} before {what}")
        try:
            yield
        except BaseException as error:
            self.told.append(f"{self.name} saw {type(error).__name__}")
            raise
        else:
            self.told.append(f"{self.name} after {what}")

    def publish(self, messages, call_next):
        with self.around(f"publish {len(messages)}"):
            call_next(messages)

    async def apublish(self, messages, call_next):
        with self.around(f"apublish {len(messages)}"):
            await call_next(messages)

    def run(self, call, call_next):
        with self.around(f"run {call.task.name}"):
            return call_next(call)

    async def arun(self, call, call_next):
        with self.around(f"arun {call.task.name}"):
            return await call_next(call)


class Stamped(Middleware):
    """Sends a header along, and adds one to what each task is called with and returns."""

    def publish(self, messages, call_next):
        call_next(self.stamped(messages))

    async def apublish(self, messages, call_next):
        await call_next(self.stamped(messages))

    def stamped(self, messages):
        return [replace(each, headers={**each.headers, "stamp": "here"}) for each in messages]

    def run(self, call, call_next):
        assert current_task() is call.request
        return call_next(replace(call, args=[each + 1 for each in call.args])) + 1

    async def arun(self, call, call_next):
        return await call_next(replace(call, args=[each + 1 for each in call.args])) + 1


@pytest.fixture
def told():
    return []


@pytest.fixture
def make(request):
    def make(*middleware, **settings):
        app = App("mid", broker="memory://", middleware=middleware, **settings)
        request.addfinalizer(lambda: closed(app))

        @app.task(name="double")
        def double(x):
            if x < 0:
                raise Reject("negative")
            return 2 * x

        @app.task(name="adouble")
        async def adouble(x):
            await asyncio.sleep(0)
            return 2 * x

        @app.task(name="header", bind=True)
        def header(self):
            return self.request.headers.get("stamp")

        return app

    return make


def closed(app):
    with contextlib.suppress(PublishErrors):
        app.close()


def depth(app, queue="celeriac"):
    return app.client.portal.run(app.client.connection.transport.depth(queue)).ready


def test_the_first_is_around_all_others(make, told):
    app = make(Told("a", told), Told("b", told))
    sent = app.tasks["double"].delay(1)
    assert told == ["a before publish 1", "b before publish 1", "b after publish 1", "a after publish 1"]
    told.clear()
    with app.run_worker(concurrency=1):
        assert app.tasks["adouble"].delay(2).get(timeout=10) == 4
        assert sent.get(timeout=10) == 2
    runs = [line for line in told if "publish" not in line]
    for task, how in (("double", "run"), ("adouble", "arun")):
        lines = [line for line in runs if line.endswith(f"{how} {task}")]
        assert lines == [
            f"a before {how} {task}",
            f"b before {how} {task}",
            f"b after {how} {task}",
            f"a after {how} {task}",
        ]


def test_what_is_sent_called_and_returned_can_be_changed(make):
    app = make(Stamped())
    with app.run_worker(concurrency=1):
        assert app.tasks["double"].delay(2).get(timeout=10) == 7
        assert app.tasks["adouble"].delay(2).get(timeout=10) == 7
    app = make(OnlyPublish())
    with app.run_worker(concurrency=1):
        assert app.tasks["header"].delay().get(timeout=10) == "here"


class OnlyPublish(Middleware):
    publish = Stamped.publish
    apublish = Stamped.apublish
    stamped = Stamped.stamped


def test_a_batch_and_many_pass_together(make, told):
    app = make(Told("a", told))
    double = app.tasks["double"]
    with app.batch():
        double.delay(1)
        double.delay_many([(2,), (3,)])
        assert not told
    assert told == ["a before publish 3", "a after publish 3"]
    told.clear()
    assert len(double.delay_many([(number,) for number in range(1200)])) == 1200
    assert told == ["a before publish 1200", "a after publish 1200"]

    async def awaited():
        await double.adelay(1)
        await double.adelay_many([(2,), (3,)])
        async with app.batch():
            await double.adelay(1)

    told.clear()
    asyncio.run(awaited())
    assert told == [f"a {when} apublish {count}" for count in (1, 2, 1) for when in ("before", "after")]
    assert depth(app) == 3 + 1200 + 4


def test_a_deferred_send_passes_too(make, told):
    app = make(Told("a", told), OnlyPublish(), publish_confirm="deferred")
    sent = app.tasks["header"].delay()
    asyncio.run(app.tasks["header"].adelay())
    assert told == [
        "a before publish 1",
        "a after publish 1",
        "a before apublish 1",
        "a after apublish 1",
    ]
    with app.run_worker(concurrency=1):
        assert sent.get(timeout=10) == "here"


def test_the_caller_is_told_what_the_broker_said(make, told):
    app = make(Told("a", told))
    with pytest.raises(Unroutable):
        app.tasks["double"].apply_async((1,), exchange="amq.nowhere", routing_key="x")
    assert told == ["a before publish 1", "a saw Unroutable"]


class Swallows(Middleware):
    """Says nothing of what went wrong."""

    def publish(self, messages, call_next):
        with contextlib.suppress(PublishError):
            call_next(messages)

    async def apublish(self, messages, call_next):
        with contextlib.suppress(PublishError):
            await call_next(messages)


class Forgets(Middleware):
    """Sends nothing."""

    def publish(self, messages, call_next): ...

    async def apublish(self, messages, call_next): ...


class Drops(Middleware):
    """Sends less than it was given."""

    def publish(self, messages, call_next):
        call_next(messages[1:])

    async def apublish(self, messages, call_next):
        await call_next(messages[1:])


class Refuses(Middleware):
    def publish(self, messages, call_next):
        raise PermissionError("not today")

    async def apublish(self, messages, call_next):
        raise PermissionError("not today")


class TriesTwice(Middleware):
    def publish(self, messages, call_next):
        try:
            call_next([replace(each, exchange="amq.nowhere") for each in messages])
        except PublishError:
            call_next(messages)

    async def apublish(self, messages, call_next):
        await call_next(messages)


def send(app, how):
    double = app.tasks["double"]
    if how == "adelay":
        asyncio.run(double.adelay(1))
    elif how == "many":
        double.delay_many([(1,), (2,)])
    elif how == "batch":
        with app.batch():
            double.delay(1)
    else:
        double.delay(1)


@pytest.mark.parametrize("how", ["delay", "adelay", "many", "batch", "deferred"])
@pytest.mark.parametrize(
    ("middleware", "error"),
    [(Forgets, PublishError), (Drops, ConfigurationError), (Refuses, PermissionError)],
)
def test_nothing_is_lost_in_silence(how, middleware, error, make):
    app = make(middleware(), publish_confirm="deferred" if how == "deferred" else "wait")
    with pytest.raises(error):
        send(app, how)
    app.client.portal.run(app.client.connection.ready())
    assert depth(app) == 0


def test_what_the_broker_refused_cannot_be_hidden_and_can_be_tried_again(make):
    nowhere = {"exchange": "amq.nowhere", "routing_key": "x"}
    app = make(Swallows())
    with pytest.raises(Unroutable):
        app.tasks["double"].apply_async((1,), **nowhere)
    with pytest.raises(Unroutable):
        asyncio.run(app.tasks["double"].aapply_async((1,), **nowhere))
    app = make(Swallows(), TriesTwice())
    app.tasks["double"].delay(1)
    assert depth(app) == 1


class Fails(Middleware):
    """Fails the task that it stands around, or wishes something for it."""

    def run(self, call, call_next):
        if call.args == [7]:
            raise Reject("seven is out")
        if call.args == [8]:
            raise LookupError("no eight")
        return call_next(call)

    async def arun(self, call, call_next):
        if call.args == [8]:
            raise LookupError("no eight")
        return await call_next(call)


def test_what_is_raised_around_a_run_is_the_task_s_failure_or_wish(make, told):
    app = make(Told("a", told), Fails())
    with app.run_worker(concurrency=1):
        for name in ("double", "adouble"):
            with pytest.raises(LookupError, match="no eight"):
                app.tasks[name].delay(8).get(timeout=10)
            assert app.tasks[name].delay(1).get(timeout=10) == 2, "the worker is alive"
        rejected = app.tasks["double"].delay(7)
        with pytest.raises(Exception, match="seven is out"):
            rejected.get(timeout=10)
    assert told.count("a saw LookupError") == 2
    assert told.count("a saw Reject") == 1
    assert depth(app, "celeriac.dead") == 1


class Half(Middleware):
    def run(self, call, call_next):
        return call_next(call)


class OtherHalf(Middleware):
    async def apublish(self, messages, call_next): ...


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Half(), "Half has run and no arun"),
        (OtherHalf(), "OtherHalf has apublish and no publish"),
        (Told, "is no Middleware"),
        (print, "is no Middleware"),
    ],
)
def test_what_cannot_stand_around_is_refused_by_the_app_and_from_a_plugin(wrong, words, make):
    with pytest.raises(ConfigurationError, match=words):
        make(wrong)
    app = make()
    app.plugins.register(Offers([wrong]))
    with pytest.raises(ConfigurationError, match=words):
        app.tasks["double"].delay(1)
    with pytest.raises(ConfigurationError, match=words), app.run_worker():
        pytest.fail("it started")


class Offers:
    def __init__(self, middlewares):
        self.middlewares = middlewares

    @hookimpl
    def celeriac_middleware(self, app):
        assert isinstance(app, App)
        return self.middlewares() if callable(self.middlewares) else self.middlewares


def test_those_of_plugins_are_outside(make, told):
    app = make(Told("own", told))
    app.plugins.register(Offers([Told("plugin", told)]))
    app.plugins.register(Offers(None), "none")
    app.tasks["double"].delay(1)
    assert [line.partition(" ")[0] for line in told] == ["plugin", "own", "own", "plugin"]


def test_a_plugin_that_fails_to_say_is_told_and_nothing_is_sent(make):
    app = make()

    def fail():
        raise RuntimeError("amqp://me:hush@host said no")

    app.plugins.register(Offers(fail))
    with pytest.raises(PluginError, match="plugin Offers failed in celeriac_middleware: RuntimeError") as caught:
        app.tasks["double"].delay(1)
    assert "hush" not in str(caught.value)


def test_a_plugin_that_gives_nonsense_is_told_by_name(make):
    app = make()
    app.plugins.register(Offers(lambda: 5))
    with pytest.raises(PluginError, match="plugin Offers gave 5 for celeriac_middleware, which is no list"):
        app.tasks["double"].delay(1)


def test_without_any_nothing_stands_around(make):
    middlewares = make().middlewares
    assert middlewares.run is None
    assert middlewares.arun is None
    assert not middlewares.publishes
    assert make(OnlyPublish()).middlewares.run is None
