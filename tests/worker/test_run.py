"""The room that meets user code."""

from __future__ import annotations

import asyncio
import json
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from celeriac.app import App
from celeriac.errors import EncodeError
from celeriac.request import current_task
from celeriac.worker.job import Assignment, Expired, Failed, Rejected, Succeeded
from celeriac.worker.run import TRACEBACK_CHARACTERS, run_async, run_sync, user_traceback


@pytest.fixture
def app():
    return App("run", broker="memory://run")


def assignment(task, *args, body=None, content_type="application/json", **kwargs):
    return Assignment(
        seq=1,
        task=task.name if hasattr(task, "name") else task,
        body=json.dumps([args, kwargs, {}]).encode() if body is None else body,
        content_type=content_type,
        content_encoding="utf-8",
        request={"id": "the-id", "task": "t"},
    )


def test_a_result(app):
    @app.task
    def add(x, y):
        return x + y

    outcome = run_sync(app, assignment(add, 1, y=2), None)
    assert isinstance(outcome, Succeeded)
    assert (outcome.body, outcome.content_type, outcome.shown) == (b"3", "application/json", "3")
    assert outcome.seconds >= 0


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("late", [True, False])
def test_what_expired_while_it_waited_is_not_run(app, kind, late):
    ran = []
    if kind == "def":

        @app.task
        def note():
            ran.append(1)

    else:

        @app.task
        async def note():
            ran.append(1)

    expires = datetime.now(UTC) + timedelta(hours=-1 if late else 1)
    sent = assignment(note)
    sent = replace(sent, request={**sent.request, "expires": expires.isoformat()})
    outcome = run_sync(app, sent, None) if kind == "def" else asyncio.run(run_async(app, sent, None))
    assert (type(outcome), ran) == ((Expired, []) if late else (Succeeded, [1]))


def test_an_ignored_result_is_not_encoded(app):
    @app.task(ignore_result=True)
    def give():
        return object()

    outcome = run_sync(app, assignment(give), None)
    assert outcome.body == b"null"
    assert "object" in outcome.shown


def test_the_request_is_there_while_the_task_runs(app):
    @app.task(bind=True)
    def who(self, x):
        request = self.request
        assert request is current_task()
        return [request.id, list(request.args), request.state]

    assert json.loads(run_sync(app, assignment(who, 1), "the state").body) == ["the-id", [1], "the state"]
    assert current_task() is None


def test_a_failure_shows_the_users_frames_only(app):
    @app.task
    def fail():
        raise ValueError("no")

    outcome = run_sync(app, assignment(fail), None)
    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.error.args) == ("ValueError", ["no"])
    assert outcome.traceback.startswith("Traceback (most recent call last):\n")
    assert outcome.traceback.count("\n  File ") == 1
    assert __file__ in outcome.traceback
    assert outcome.traceback.endswith("ValueError: no\n")


def test_arguments_that_do_not_fit(app):
    @app.task
    def one(x):
        return x

    outcome = run_sync(app, assignment(one, 1, 2), None)
    assert outcome.error.type == "TypeError"
    assert "2 were given" in outcome.error.message
    assert "run.py" not in outcome.traceback


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration])
def test_nothing_that_a_def_task_raises_gets_through(app, kind):
    @app.task
    def leave():
        raise kind("x")

    assert run_sync(app, assignment(leave), None).error.type == kind.__name__


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, BaseException])
def test_nothing_that_a_coroutine_raises_gets_through(app, kind):
    @app.task
    async def leave():
        raise kind("x")

    assert asyncio.run(run_async(app, assignment(leave), None)).error.type == kind.__name__


def test_a_coroutine_returns(app):
    @app.task
    async def add(x, y):
        await asyncio.sleep(0)
        return x + y

    assert asyncio.run(run_async(app, assignment(add, 1, 2), None)).body == b"3"


def test_the_lane_can_cancel_a_coroutine(app):
    @app.task
    async def wait():
        await asyncio.sleep(3600)

    async def cancel():
        task = asyncio.create_task(run_async(app, assignment(wait), None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())


def test_a_coroutine_that_is_thrown_away_is_closed(app):
    class Pause:
        def __await__(self):
            yield

    @app.task
    async def wait():
        await Pause()

    coroutine = run_async(app, assignment(wait), None)
    coroutine.send(None)
    coroutine.close()  # no loop runs here, as when the interpreter ends


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xff", "undecodable"),
        (b"{}", "undecodable"),
        (b"[1, 2, 3]", "undecodable"),
        (b"[" * 100_000, "undecodable"),
        (b'[[], {}, {"callbacks": [1]}]', "unsupported"),
    ],
)
def test_what_cannot_be_decoded_is_rejected(app, body, reason):
    app.task(lambda: 1, name="t")
    outcome = run_sync(app, assignment("t", body=body), None)
    assert isinstance(outcome, Rejected)
    assert outcome.reason == reason
    assert outcome.detail


def test_an_unknown_task_is_rejected(app):
    assert run_sync(app, assignment("nobody"), None).reason == "unknown"


def test_a_codec_that_raises_whatever_it_likes(app):
    class Wild:
        content_type, content_encoding = "x/wild", "binary"

        def encode(self, value):
            raise ZeroDivisionError

        def decode(self, data):
            raise ZeroDivisionError("in a foreign codec")

    app.codecs.register(Wild())
    app.task(lambda: 1, name="t")
    outcome = run_sync(app, assignment("t", content_type="x/wild"), None)
    assert outcome.reason == "undecodable"
    assert "in a foreign codec" in outcome.detail


def test_a_result_that_cannot_be_encoded_is_a_failure(app):
    class Sneaky:
        def __json__(self):
            raise SystemExit

        def __repr__(self):
            raise RuntimeError

    @app.task
    def give(which):
        return {1}, Sneaky(), which

    outcome = run_sync(app, assignment(give, 1), None)
    assert outcome.error.type == "EncodeError"
    assert "pass a list" in outcome.error.message
    assert "worker/run.py" not in outcome.traceback


def test_an_exception_whose_every_method_raises(app):
    class AwfulError(Exception):
        def __str__(self):
            raise SystemExit

        __repr__ = __str__

        @property
        def __notes__(self):
            raise KeyError

    @app.task
    def fail():
        raise AwfulError(AwfulError())

    outcome = run_sync(app, assignment(fail), None)
    assert outcome.error.type.endswith("AwfulError")
    assert "Awful" in outcome.traceback
    assert "SystemExit" in outcome.error.message


def test_a_deep_recursion(app):
    @app.task
    def deep():
        return deep.fn()

    assert run_sync(app, assignment(deep), None).error.type == "RecursionError"


def test_a_very_long_traceback_is_cut_in_the_middle():
    text = user_traceback(ValueError("x" * 1_000_000))
    assert len(text) < TRACEBACK_CHARACTERS + 100
    assert text.startswith("ValueError: xxx")
    assert "characters left out" in text


def test_the_traceback_of_a_cause_is_kept():
    def chain():
        try:
            {}["inner"]
        except KeyError as inner:
            raise ValueError("outer") from inner

    with pytest.raises(ValueError, match="outer") as caught:
        chain()
    assert user_traceback(caught.value) == "".join(traceback.format_exception(caught.value))


def test_no_frame_of_ours_is_shown_in_any_part(app):
    @app.task
    def fail():
        try:
            app.codecs.encode({1})
        except EncodeError as first:
            raise KeyError("last") from ExceptionGroup("two", [ValueError("a"), first])

    text = run_sync(app, assignment(fail), None).traceback
    for part in ("ValueError: a", "ExceptionGroup: two", "KeyError: 'last'", "EncodeError"):
        assert part in text
    assert "worker/run.py" not in text
