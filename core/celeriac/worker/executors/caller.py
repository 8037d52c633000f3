"""The executor of tasks that run where they are sent: the thread that calls."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING

from celeriac.worker.executors.loop_lane import LoopLane
from celeriac.worker.job import Cancelled, TimedOut
from celeriac.worker.run import run_sync

if TYPE_CHECKING:
    from celeriac.app import App
    from celeriac.worker.job import Interrupted, Job, Outcome, Result


def run_here(app: App, job: Job) -> Outcome:
    """Run a job and return its outcome: a ``def`` task on this thread, a coroutine on a loop that lives as long as it.

    The App's lifespan, if there is one, surrounds it, and what that raises, this raises. A coroutine is cancelled at
    its hard limit; nothing ends a function.
    """
    if not job.is_async and app.lifespan_function is None:
        return copy_context().run(run_sync, app, job.assignment, None)
    done: Future[Result | Cancelled | Interrupted] = Future()
    lane = LoopLane(app, lambda _, outcome: done.set_result(outcome), done.set_exception)
    try:
        lane.start().result()
        if not job.is_async:
            return copy_context().run(run_sync, app, job.assignment, lane.state)
        lane.loop.call_soon_threadsafe(lane.run, job.assignment)
        return _limited(job, lane, done)
    finally:
        lane.stop().result()
        lane.join()


def _limited(job: Job, lane: LoopLane, done: Future[Result | Cancelled | Interrupted]) -> Outcome:
    """Wait for a coroutine, and cancel it if it takes too long."""
    with suppress(TimeoutError):
        done.result(job.hard_limit)
    if not done.done():
        lane.loop.call_soon_threadsafe(lane.cancel, job.seq)
    outcome = done.result()
    return TimedOut(limit=job.hard_limit or 0.0) if isinstance(outcome, Cancelled) else outcome
