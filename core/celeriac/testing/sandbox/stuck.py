"""Which tasks are not done, and where each of them is: what a `Sandbox` says when its patience is over."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import celeriac
from celeriac.worker.run import run_async, run_sync

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import FrameType

    from celeriac.testing.sandbox.broker import Stored
    from celeriac.worker.worker import Worker

ARGUMENT_CHARACTERS = 200
_PACKAGE = str(Path(celeriac.__file__).parent)
_OWN = (run_sync.__code__, run_async.__code__)


class NotDrained(AssertionError):  # noqa: N818 - it is a test's failure, and no error
    """Some tasks were not done in time; each is named, with where it is."""


class Run(NamedTuple):
    """A task that runs: its name, and the seconds since it began."""

    task: str
    seconds: float


def report(
    stored: Sequence[Stored],
    runs: Mapping[str, Run],
    consumed: Collection[str],
    now: datetime,
    workers: Sequence[Worker | None],
) -> str:
    """Return a paragraph for each task that is not done.

    Args:
        stored: what is in the broker.
        runs: by the tasks' ids.
        consumed: the queues that a worker here consumes.
        now: the time of day.
        workers: whose tasks' stacks are shown.
    """
    stacks = _stacks(workers)
    lines = []
    for each in stored:
        task_id = each.message.id
        where = f"running for {runs[task_id].seconds:.1f} s" if task_id in runs else _where(each, consumed, now)
        lines.append(f"{each.message.headers.get('task', 'no task')}[{task_id}] {_arguments(each)}: {where}")
        lines += stacks.get(task_id, [])
    for task_id in runs.keys() - {each.message.id for each in stored}:
        lines.append(
            f"{runs[task_id].task}[{task_id}]: running for {runs[task_id].seconds:.1f} s, acknowledged already"
        )
        lines += stacks.get(task_id, [])
    return "\n".join(f"  {line}" for line in lines)


def _where(stored: Stored, consumed: Collection[str], now: datetime) -> str:
    """Return where a task is that does not run."""
    if stored.due is not None:
        return f"delayed until {stored.due:%Y-%m-%d %H:%M:%S}, {(stored.due - now).total_seconds():.0f} s"
    if stored.state == "running":
        return f"taken from {stored.queue!r} by a worker whose slots are busy"
    if stored.state == "paused":
        return f"queued in {stored.queue!r}, which is paused"
    return f"queued in {stored.queue!r}{'' if stored.queue in consumed else ', which no worker here consumes'}"


def _arguments(stored: Stored) -> str:
    headers = stored.message.headers
    return f"{headers.get('argsrepr', '')} {headers.get('kwargsrepr', '')}".removesuffix(" {}")[:ARGUMENT_CHARACTERS]


def _stacks(workers: Sequence[Worker | None]) -> dict[str, list[str]]:
    """Return the user's part of the stack of each task that runs in this process, by the task's id."""
    found = {}
    for ident, frame in sys._current_frames().items():
        task_id, frames = _user_frames(list(traceback.walk_stack(frame))[::-1])
        if task_id is not None and ident != threading.get_ident():
            found[task_id] = frames
    lanes: list[Any] = [getattr(worker.pool, "_lane", None) for worker in workers if worker is not None]
    for task in itertools.chain.from_iterable(asyncio.all_tasks(lane.loop) for lane in lanes if lane is not None):
        task_id, frames = _user_frames(list(_suspended(task.get_coro())))
        if task_id is not None:
            found[task_id] = frames
    return found


def _user_frames(frames: Sequence[tuple[FrameType, int]]) -> tuple[str | None, list[str]]:
    """Return the id of the task that a stack runs, and what of the stack, outermost first, is the user's."""
    task_id, since = None, 0
    for place, (frame, _) in enumerate(frames):
        if frame.f_code in _OWN:
            task_id, since = frame.f_locals["assignment"].request["id"], place + 1
    own = [(frame, line) for frame, line in frames[since:] if not frame.f_code.co_filename.startswith(_PACKAGE)]
    lines = traceback.StackSummary.extract(iter(own)).format()
    return task_id, [line for text in lines for line in text.rstrip().splitlines()]


def _suspended(awaited: Any) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of a coroutine that waits, outermost first."""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            yield frame, frame.f_lineno
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
