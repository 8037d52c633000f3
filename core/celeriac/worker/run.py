"""The room that meets user code: decode, call, encode, and turn whatever goes wrong into data.

It runs where the task runs, in a child or a thread; the only broad ``except`` of the worker stands here. Nothing that a
message or a task does makes these functions raise, but the cancelling of the lane itself.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import celeriac
from celeriac.clock import SystemClock
from celeriac.codec import carries_code
from celeriac.errors import DecodeError, MaxRetriesExceeded, NotRegistered, ProtocolError, ValidationError
from celeriac.flow import Ignore, Reject, Retry, Snooze, TaskFlow, seconds_of
from celeriac.json_codec import JSON
from celeriac.middleware import Call
from celeriac.protocol import ErrorData, decode_body, pack, parse_when
from celeriac.request import Request, current_task, running
from celeriac.saferepr import saferepr
from celeriac.signing import TaskPlace
from celeriac.worker.job import Expired, Failed, Ignored, Refused, Rejected, Retried, Snoozed, Succeeded
from celeriac.worker.softlimit import limited_softly, soft_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from celeriac.app import App
    from celeriac.task import Task
    from celeriac.worker.job import Assignment, Result

    Tell = Callable[[int, Mapping[str, Any]], None]

SHOWN_CHARACTERS = 200
TRACEBACK_CHARACTERS = 64 * 1024
_OWN_FILES = (str(Path(celeriac.__file__).parent), "<frozen importlib")
_monotonic = SystemClock().monotonic


def run_sync(app: App, assignment: Assignment, state: Any, tell: Tell | None = None) -> Result:
    """Run a ``def`` task here and now.

    Args:
        app: whose task it is.
        assignment: what to run.
        state: what the App's lifespan gave.
        tell: takes the job's number and what the task tells of its progress.
    """
    call = prepare(app, assignment, state, tell)
    if not isinstance(call, Call):
        return call
    begun = _monotonic()
    try:
        with running(call.request), soft_limit(assignment.soft_limit):
            around = app.middlewares.run
            value = call.begin() if around is None else around(call)
            return _succeeded(app, call, value, begun)
    except BaseException as error:  # noqa: BLE001 - user code may raise anything, SystemExit and worse
        return _raised(app, call, error, begun)


async def run_async(app: App, assignment: Assignment, state: Any, tell: Tell | None = None) -> Result:
    """Run an ``async def`` task; as `run_sync`.

    Raises:
        asyncio.CancelledError: it was cancelled, by the lane or by itself.
        GeneratorExit: it was thrown away, or has raised that itself.
    """
    call = prepare(app, assignment, state, tell)
    if not isinstance(call, Call):
        return call
    begun, limit = _monotonic(), assignment.soft_limit
    try:
        with running(call.request):
            around = app.middlewares.arun
            value = call.begin() if around is None else around(call)
            value = await (value if limit is None else limited_softly(value, limit))
            return _succeeded(app, call, value, begun)
    except GeneratorExit:
        raise  # the loop may be throwing the coroutine away
    except BaseException as error:
        lane = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and lane is not None and lane.cancelling():
            raise  # the lane knows whether it has asked for that
        return _raised(app, call, error, begun)


def prepare(
    app: App, assignment: Assignment, state: Any, tell: Tell | None = None
) -> Call | Rejected | Expired | Failed:
    """Find the task and decode its arguments.

    ``Rejected`` where nobody with this code could, ``Failed`` where they are not what the task's annotations say. What
    has waited in front of this executor may have expired since the worker admitted it.
    """
    try:
        task = app.tasks[assignment.task]
        args, kwargs = _arguments(app, assignment, task)
        told = None if tell is None else partial(tell, assignment.seq)
        request = Request(**assignment.request, args=args, kwargs=kwargs, state=state, tell=told)
    except NotRegistered as error:
        return Rejected(reason="unknown", detail=str(error))
    except (DecodeError, ProtocolError) as error:
        return Rejected(reason=error.reason, detail=str(error))
    except ValidationError as error:  # sent by who does not look: another language, or another version of the task
        return failed(app, error, 0.0)
    except Exception as error:  # noqa: BLE001 - a foreign codec may raise anything
        return Rejected(reason=DecodeError.reason, detail=saferepr(error, SHOWN_CHARACTERS))
    if request.expires is not None and parse_when(request.expires) <= app.clock.now():
        return Expired()
    return Call(task, request, args, kwargs, assignment)


def _arguments(app: App, assignment: Assignment, task: Task[..., Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return what the task is called with, as its annotations say."""
    kind = assignment.content_type
    place = None if kind == JSON else _place(assignment)
    args, kwargs, _ = decode_body(
        app.codecs,
        assignment.body,
        kind,
        assignment.content_encoding,
        assignment.compression,
        place=place,
        signature=assignment.signature,
    )
    if task.types is None:
        return args, kwargs
    if place is None or not carries_code(app.codecs.acceptable(kind)):
        return task.types.load(args, kwargs)
    task.types.dump(args, kwargs)  # they are objects already, and only looked at
    return args, kwargs


def _place(assignment: Assignment) -> TaskPlace:
    """Return what the message's body must have been signed for."""
    request = assignment.request
    return TaskPlace(
        task=str(request.get("task")),
        id=str(request.get("id")),
        queue=str(request.get("queue")),
        expires=request.get("expires") or "",
        content_type=assignment.content_type,
        content_encoding=assignment.content_encoding,
        compression=assignment.compression or "",
    )


def user_traceback(error: BaseException) -> str:
    """Return the traceback as text, each part from the first frame that is the user's; cut if it is very long."""
    shown = traceback.TracebackException.from_exception(error)
    _drop_own_frames(shown)
    text = "".join(shown.format())
    if len(text) <= TRACEBACK_CHARACTERS:
        return text
    half = TRACEBACK_CHARACTERS // 2
    return f"{text[:half]}\n  [{len(text) - 2 * half} characters left out]\n{text[-half:]}"


def stamp_log_records() -> None:
    """Give every log record of this process ``task_id`` and ``task_name``; ``-`` outside of a task."""
    make = logging.getLogRecordFactory()

    def make_stamped(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        request = current_task()
        record.task_id = "-" if request is None else request.id
        record.task_name = "-" if request is None else request.task
        return record

    logging.setLogRecordFactory(make_stamped)


def _drop_own_frames(shown: traceback.TracebackException | None) -> None:
    """Drop the frames through which celeriac came to the user's code, also in what the exception came from."""
    while shown is not None:
        while shown.stack and shown.stack[0].filename.startswith(_OWN_FILES):
            del shown.stack[0]
        for part in shown.exceptions or ():
            _drop_own_frames(part)
        if shown.__cause__ is not None:
            _drop_own_frames(shown.__context__)
        shown = shown.__cause__ or shown.__context__


def _succeeded(app: App, call: Call, value: object, begun: float) -> Succeeded:
    task, task_id = call.task, call.request.id
    result, types = (None, None) if task.ignore_result else (value, task.types)
    body, content_type, content_encoding = app.codecs.encode_result(result, task_id, types, task.result_serializer)
    return Succeeded(
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        shown=saferepr(value, SHOWN_CHARACTERS),
        seconds=_monotonic() - begun,
    )


def _raised(app: App, call: Call, error: BaseException, begun: float) -> Result:
    """Return what an exception out of a task means; what goes wrong in finding that out is the task's failure too."""
    seconds = _monotonic() - begun
    try:
        if isinstance(error, TaskFlow):
            return _wished(app, call, error, seconds)
        delay = call.task.retries.delay_after(error, call.request.attempt, app.random)
        if delay is None:
            return failed(app, error, seconds)
        return _again(app, call, Retry(error, countdown=delay), seconds)
    except BaseException as worse:  # noqa: BLE001 - a task's own retry options and arguments are user code too
        return failed(app, worse, seconds)


def _wished(app: App, call: Call, wish: TaskFlow, seconds: float) -> Result:
    match wish:
        case Retry():
            return _again(app, call, wish, seconds)
        case Snooze():
            return Snoozed(delay=seconds_of(wish.delay))
        case Reject():
            return Refused(reason=saferepr(wish.reason, SHOWN_CHARACTERS), requeue=bool(wish.requeue))
        case Ignore():
            return Ignored(seconds=seconds)
        case _:
            return failed(app, wish, seconds)


def _again(app: App, call: Call, wish: Retry, seconds: float) -> Retried | Failed:
    """Return another attempt, or the failure where that would be one too many."""
    options, request = call.task.retries, call.request
    delay = seconds_of(wish.countdown) if wish.countdown is not None else options.backoff(request.attempt, app.random)
    why = wish.exc or MaxRetriesExceeded(f"{request.task} was run {request.attempt} times")
    if options.is_exhausted(request.attempt, request.seconds_since_first(app.clock.now()), delay, wish.max_retries):
        return replace(failed(app, why, seconds), exhausted=True)
    packed, signature = None, None
    if wish.args_again is not None or wish.kwargs_again is not None:
        args = call.args if wish.args_again is None else wish.args_again
        kwargs = call.kwargs if wish.kwargs_again is None else wish.kwargs_again
        assigned = call.assignment
        packed = pack(app.codecs, args, kwargs, call.task.types, assigned.content_type, assigned.compression)
        where = {"task": request.task, "id": request.id, "queue": request.queue, "expires": request.expires or ""}
        signature = packed.signature(app.codecs, **where)
    failure = failed(app, wish.exc or wish, seconds)
    return Retried(
        error=failure.error,
        traceback=failure.traceback,
        delay=delay,
        seconds=seconds,
        packed=packed,
        signature=signature,
    )


def failed(app: App, error: BaseException, seconds: float) -> Failed:
    """Return the failure of a task that ended with ``error``, whatever that is."""
    try:
        return Failed(error=ErrorData.of(error, app.codecs), traceback=user_traceback(error), seconds=seconds)
    except BaseException as broken:  # noqa: BLE001 - the exception's own methods are user code, and may even exit
        kind = type(error)
        message = f"<its text cannot be shown: {type(broken).__name__}>"
        data = ErrorData(type=kind.__qualname__, module=str(kind.__module__), args=[], message=message)
        return Failed(error=data, traceback=f"{kind.__qualname__}: {message}\n", seconds=seconds)
