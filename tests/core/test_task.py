"""Declaring tasks, and what is refused before anything is sent."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest

from celeriac import App, Queue, Task, current_task
from celeriac.errors import ConfigurationError, EncodeError, MessageTooLarge, NotRegistered, UnknownOption
from celeriac.request import Request, running
from celeriac.testing import VirtualClock


@pytest.fixture
def add(app) -> Task:
    @app.task(name="add")
    def add(x: int, y: int = 0, *, note: str = "") -> int:
        """Add two numbers."""
        return x + y

    return add


# declaring


def test_a_task_is_still_its_function(app, add) -> None:
    @app.task
    async def double(x):
        return 2 * x

    assert add(1, y=2) == 3
    coroutine = double(4)
    with pytest.raises(StopIteration) as returned:
        coroutine.send(None)
    assert returned.value.value == 8
    assert (add.__doc__, add.__name__, repr(add)) == ("Add two numbers.", "add", "<@task: add>")
    assert add.__wrapped__(1, 2) == 3


def test_a_bound_task_gets_itself(app) -> None:
    @app.task(bind=True)
    def name(self, suffix):
        return self.name + suffix

    assert name("!") == f"{__name__}.name!"


def test_a_bound_task_without_an_argument_is_refused(app) -> None:
    with pytest.raises(ConfigurationError, match="add self"):

        @app.task(bind=True)
        def nothing(): ...


def test_names_are_module_and_function_unless_given(app) -> None:
    @app.task
    def one(): ...

    @app.task(name="two")
    def other(): ...

    assert set(app.tasks) == {f"{__name__}.one", "two"}
    assert app.tasks["two"] is other
    assert len(app.tasks) == 2


def test_an_unknown_name_suggests_one(app, add) -> None:
    with pytest.raises(NotRegistered, match="no task 'ad' in this App; did you mean 'add'"):
        app.tasks["ad"]
    assert "ad" not in app.tasks
    assert app.tasks.get("nothing like it") is None


def test_another_function_under_a_name_is_refused(app, add) -> None:
    with pytest.raises(ConfigurationError, match=r"the name 'add' is taken by .*test_task.py:"):

        @app.task(name="add")
        def subtract(): ...


def test_the_same_function_again_replaces_itself(app) -> None:
    def declare():
        @app.task(name="again")
        def again(): ...

        return again

    first, second = declare(), declare()
    assert first is not second
    assert app.tasks["again"] is second


@pytest.mark.parametrize(("option", "near"), [("que", "queue"), ("acks_lat", "acks_late"), ("countdwn", "countdown")])
def test_a_mistyped_option_suggests_the_right_one(app, add, option: str, near: str) -> None:
    with pytest.raises(UnknownOption, match=f"unknown task option '{option}'; did you mean '{near}'"):
        app.task(**{option: 1})
    if near != "acks_late":
        with pytest.raises(UnknownOption, match=f"unknown call option '{option}'; did you mean '{near}'"):
            add.apply_async((1,), **{option: 1})
        with pytest.raises(TypeError):
            add.options(**{option: 1})


NAMED_IN_MAIN = """
from celeriac import App
app = App({main!r}, broker="memory://")

@app.task
def add(): ...

print(list(app.tasks), app.tasks["program.add"] is add, app.tasks["__main__.add"] is add if {main!r} is None else "")
"""


@pytest.mark.parametrize(
    ("main", "printed"), [(None, "['__main__.add'] True True\n"), ("shop", "['shop.add'] True \n")]
)
def test_a_program_s_tasks_are_found_by_every_name_it_has(tmp_path, main, printed: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(NAMED_IN_MAIN.format(main=main))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    assert done.stdout == printed


# arguments


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ((), {}, "missing a required argument: 'x'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"x": 1}, "multiple values for argument 'x'"),
        ((1,), {"noet": ""}, "unexpected keyword argument 'noet'; did you mean 'note'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_signature(add, waiting, app, args, kwargs, why: str) -> None:
    calls = [lambda: add.delay(*args, **kwargs), lambda: add.apply_async(args, kwargs)]
    calls += [lambda: add.delay_many([(1,), args])] if not kwargs else []
    for call in calls:
        with pytest.raises(TypeError) as raised:
            call()
        assert str(raised.value).startswith("add(x: 'int', y: 'int' = 0, *, note: 'str' = '') -> 'int': ")
        assert why in str(raised.value)
    assert waiting(app) == []


@pytest.mark.parametrize("args", [(1,), (1, 2)])
def test_plain_calls_that_fit_pass_without_a_closer_look(app, args) -> None:
    @app.task
    def plain(x, y=0): ...

    assert plain._checked(args, {}) is plain.defaults


@pytest.mark.parametrize("args", [(), (1, 2, 3)])
def test_plain_calls_that_do_not_fit_get_the_same_words(app, args) -> None:
    @app.task
    def plain(x, y=0): ...

    with pytest.raises(TypeError, match=r"plain\(x, y=0\): "):
        plain.delay(*args)


def test_a_bound_task_s_first_argument_is_not_the_caller_s(app) -> None:
    @app.task(bind=True)
    def bound(self, x): ...

    bound.delay(1)
    with pytest.raises(TypeError, match="too many positional arguments"):
        bound.delay(bound, 1)


@pytest.mark.parametrize("calls", [[1], ["ab"], [{1, 2}], [(1,), None]])
def test_many_calls_are_tuples(add, calls) -> None:
    with pytest.raises(TypeError, match="each call is a tuple of arguments"):
        add.delay_many(calls)


def test_an_argument_that_cannot_travel_is_named(app, waiting) -> None:
    @app.task
    def take(what): ...

    with pytest.raises(EncodeError, match=r"args\[0\]\['a'\]\[1\]"):
        take.delay({"a": [1, object()]})
    assert waiting(app) == []


def test_too_much_is_refused_before_it_is_sent(make_app) -> None:
    app = make_app(max_message_bytes=1000)

    @app.task(name="take")
    def take(text): ...

    take.delay("x" * 800)
    with pytest.raises(
        MessageTooLarge, match=r"the arguments of take take \d+ bytes, more than max_message_bytes=1000"
    ):
        take.delay("x" * 1000)


# options


def test_a_call_s_words_go_over_the_task_s_and_options_change_no_task(make_app, waiting) -> None:
    app = make_app(queues=[Queue("mail", priorities=10), Queue("post", priorities=10)])

    @app.task(queue="mail", priority=3, headers={"a": "1"})
    def send(): ...

    send.delay()
    send.options(priority=5).delay()
    send.options(priority=5).options(queue="post").delay()
    send.apply_async(priority=7, headers={"b": "2"})
    send.delay()
    assert [message.priority for message in waiting(app, "mail")] == [7, 5, 3, 3]
    assert "a" not in waiting(app, "mail")[0].headers
    assert waiting(app, "mail")[0].headers["b"] == "2"
    assert [message.priority for message in waiting(app, "post")] == [5]


def test_an_id_can_be_given(add, app, waiting) -> None:
    assert add.apply_async((1,), task_id="mine").id == "mine"
    assert waiting(app)[0].id == "mine"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"countdown": -1}, "countdown=-1 is negative"),
        ({"countdown": timedelta(seconds=-1)}, "is negative"),
        ({"expires": -0.5}, "expires=-0.5 is negative"),
        ({"countdown": float("nan")}, "countdown=nan is no duration"),
        ({"countdown": float("inf")}, "countdown=inf is no duration"),
        ({"expires": 1e300}, "is no duration"),
        ({"expires": "soon"}, "expires='soon' is no duration; give seconds or a timedelta"),
        ({"countdown": 1, "eta": datetime(2030, 1, 1, tzinfo=UTC)}, "not both"),
        ({"queue": "a", "exchange": "b"}, "not both"),
        ({"queue": "a", "routing_key": "b"}, "leave routing_key away"),
        ({"priority": 10}, "priority 10 is not 0 to 9"),
        ({"priority": -1}, "priority -1 is not 0 to 9"),
        ({"headers": {"task": "x"}}, "belongs to the task protocol"),
    ],
)
def test_options_that_cannot_work_are_refused(add, app, waiting, options, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        add.apply_async((1,), **options)
    assert waiting(app) == []


CEST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("options", "eta", "expires"),
    [
        ({"countdown": 90}, "2030-01-01T00:01:30+00:00", None),
        ({"countdown": 0}, "2030-01-01T00:00:00+00:00", None),
        ({"countdown": timedelta(days=1)}, "2030-01-02T00:00:00+00:00", None),
        ({"eta": datetime(2030, 6, 1, 12)}, "2030-06-01T12:00:00+00:00", None),  # noqa: DTZ001 - naive is UTC
        ({"eta": datetime(2030, 6, 1, 12, tzinfo=CEST)}, "2030-06-01T10:00:00+00:00", None),
        ({"expires": 1.5}, None, "2030-01-01T00:00:01.500000+00:00"),
        ({"expires": timedelta(hours=1)}, None, "2030-01-01T01:00:00+00:00"),
        ({"expires": datetime(2030, 6, 1)}, None, "2030-06-01T00:00:00+00:00"),  # noqa: DTZ001 - naive is UTC
    ],
)
def test_moments_travel_in_utc(make_app, options, eta, expires) -> None:
    app = make_app(clock=VirtualClock(datetime(2030, 1, 1, tzinfo=UTC)))

    @app.task
    def wait(): ...

    published = []
    publish = app.client.publisher.publish

    def watch(messages):
        published.extend(messages)
        return publish(messages)

    app.client.publisher.publish = watch
    wait.apply_async(**options)
    (message,) = published
    assert (message.headers["eta"], message.headers["expires"]) == (eta, expires)
    assert message.not_before == (datetime.fromisoformat(eta) if eta else None)


# the request


def test_outside_of_a_task_there_is_no_request(add) -> None:
    assert current_task() is None
    with pytest.raises(RuntimeError, match="does not run here"):
        _ = add.request


def test_a_task_sent_by_a_task_knows_its_parent_and_its_root(add, app, waiting) -> None:
    with running(Request(id="parent", task="p", root_id="root")):
        assert add.request.id == "parent"
        add.delay(1)
    with running(Request(id="first", task="p")):
        add.delay(1)
    add.delay(1)
    known = [(message.headers["parent_id"], message.headers["root_id"]) for message in waiting(app)]
    assert known[:2] == [("parent", "root"), ("first", "first")]
    assert known[2][0] is None
    assert known[2][1] == waiting(app)[2].id


def test_a_call_says_where_and_when_in_its_own_words():
    app = App("words", broker="memory://")

    @app.task(exchange="events", routing_key="a.b", countdown=60)
    def job() -> None: ...

    elsewhere = job.options(queue="mail", eta=datetime(2030, 1, 1, tzinfo=UTC)).defaults
    assert (elsewhere.queue, elsewhere.exchange, elsewhere.routing_key) == ("mail", None, None)
    assert elsewhere.countdown is None
    assert job.options(routing_key="c").defaults.exchange == "events"


@pytest.mark.parametrize(
    "options",
    [
        {"eta": "2030-01-01"},
        {"eta": 5.0},
        {"eta": datetime(2030, 1, 1, tzinfo=UTC).date()},
        {"priority": "3"},
        {"priority": None},
        {"priority": 1.5},
        {"priority": True},
    ],
)
def test_what_is_no_moment_or_priority_is_refused_before_anything_is_sent(add, waiting, app, options) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        add.apply_async((1,), **options)
    assert waiting(app) == []
