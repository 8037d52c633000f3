"""The room that meets user code: decode, call, encode, and turn whatever goes wrong into data.

It runs where the task runs, in a child or a thread; the only broad ``except`` of the worker stands here. Nothing that a
message or a task does makes these functions raise, but the cancelling of the lane itself.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import celeriac
from celeriac.clock import SystemClock
from celeriac.errors import DecodeError, NotRegistered, ProtocolError
from celeriac.protocol import ErrorData, decode_body
from celeriac.saferepr import saferepr
from celeriac.task import Request, current_task, running
from celeriac.worker.job import Failed, Outcome, Rejected, Succeeded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celeriac.app import App
    from celeriac.task import Task
    from celeriac.worker.job import Assignment

SHOWN_CHARACTERS = 200
TRACEBACK_CHARACTERS = 64 * 1024
_OWN_FILES = (str(Path(celeriac.__file__).parent), "<frozen importlib")
_monotonic = SystemClock().monotonic


@dataclass(frozen=True, slots=True)
class Call:
    """A task with what it is called with, ready to run."""

    task: Task[..., Any]
    request: Request
    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def begin(self) -> Any:
        """Call the user's function."""
        task = self.task
        return task.fn(task, *self.args, **self.kwargs) if task.bind else task.fn(*self.args, **self.kwargs)


def run_sync(app: App, assignment: Assignment, state: Any) -> Outcome:
    """Run a ``def`` task here and now.

    Args:
        app: whose task it is.
        assignment: what to run.
        state: what the App's lifespan gave.
    """
    call = prepare(app, assignment, state)
    if isinstance(call, Rejected):
        return call
    begun = _monotonic()
    try:
        with running(call.request):
            value = call.begin()
            return _succeeded(app, call.task, value, begun)
    except BaseException as error:  # noqa: BLE001 - user code may raise anything, SystemExit and worse
        return _failed(app, error, begun)


async def run_async(app: App, assignment: Assignment, state: Any) -> Outcome:
    """Run an ``async def`` task; as `run_sync`.

    Raises:
        asyncio.CancelledError: the lane cancelled it. A task that cancels itself has failed.
    """
    call = prepare(app, assignment, state)
    if isinstance(call, Rejected):
        return call
    begun = _monotonic()
    try:
        with running(call.request):
            value = await call.begin()
            return _succeeded(app, call.task, value, begun)
    except GeneratorExit:
        raise  # the loop throws the coroutine away
    except BaseException as error:
        lane = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and lane is not None and lane.cancelling():
            raise
        return _failed(app, error, begun)


def prepare(app: App, assignment: Assignment, state: Any) -> Call | Rejected:
    """Find the task and decode its arguments; ``Rejected`` where nobody with this code could."""
    try:
        task = app.tasks[assignment.task]
        args, kwargs, _ = decode_body(
            app.codecs,
            assignment.body,
            assignment.content_type,
            assignment.content_encoding,
            assignment.compression,
        )
        request = Request.from_wire(assignment.request, args, kwargs, state)
    except NotRegistered as error:
        return Rejected(reason="unknown", detail=str(error))
    except (DecodeError, ProtocolError) as error:
        return Rejected(reason=error.reason, detail=str(error))
    except Exception as error:  # noqa: BLE001 - a foreign codec may raise anything
        return Rejected(reason=DecodeError.reason, detail=saferepr(error, SHOWN_CHARACTERS))
    return Call(task, request, args, kwargs)


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


def _succeeded(app: App, task: Task[..., Any], value: object, begun: float) -> Succeeded:
    body, content_type, content_encoding = app.codecs.encode(None if task.ignore_result else value)
    return Succeeded(
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        shown=saferepr(value, SHOWN_CHARACTERS),
        seconds=_monotonic() - begun,
    )


def _failed(app: App, error: BaseException, begun: float) -> Failed:
    seconds = _monotonic() - begun
    try:
        return Failed(error=ErrorData.of(error, app.codecs), traceback=user_traceback(error), seconds=seconds)
    except BaseException as broken:  # noqa: BLE001 - the exception's own methods are user code, and may even exit
        kind = type(error)
        message = f"<its text cannot be shown: {type(broken).__name__}>"
        data = ErrorData(type=kind.__qualname__, module=str(kind.__module__), args=[], message=message)
        return Failed(error=data, traceback=f"{kind.__qualname__}: {message}\n", seconds=seconds)
