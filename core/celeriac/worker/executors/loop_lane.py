"""The lane of an executor's ``async def`` tasks: one asyncio loop in a thread of its own, for the executor's life."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from celeriac.worker.job import Cancelled, Interrupted
from celeriac.worker.run import failed, run_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.app import App
    from celeriac.worker.job import Assignment, Result
    from celeriac.worker.run import Tell

_log = logging.getLogger(__name__)


class LoopLane:
    """A loop that runs coroutines, inside the App's lifespan.

    How many run at a time is up to who submits them.

    Attributes:
        loop: the loop, once started.
        state: what the lifespan gave.
    """

    loop: asyncio.AbstractEventLoop
    state: Any = None

    def __init__(
        self,
        app: App,
        finished: Callable[[Assignment, Result | Cancelled | Interrupted], None],
        broken: Callable[[BaseException], None],
        tell: Tell | None = None,
    ) -> None:
        """Run ``app``'s tasks.

        Args:
            app: the App.
            finished: called on the loop with what became of each task.
            broken: called on the dying thread if the lifespan ends by itself; nothing more is run.
            tell: takes the number of a job and what its task tells of its progress.
        """
        self._app = app
        self._finished = finished
        self._broken = broken
        self._tell = tell
        self._stopping = False
        self._running: dict[int, asyncio.Task[Result]] = {}
        self._cancelled: set[int] = set()
        self._has_loop = threading.Event()
        self._ended = asyncio.Event()
        self._entered: Future[None] = Future()
        self._left: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="celeriac-tasks", daemon=True)

    def start(self, on_loop: Callable[[asyncio.AbstractEventLoop], None] = lambda _: None) -> Future[None]:
        """Start the thread; the future is done when the lifespan is entered, or has what that raised.

        Args:
            on_loop: called on the loop before anything else.
        """
        self._on_loop = on_loop
        self._thread.start()
        self._has_loop.wait()
        return self._entered

    def run(self, assignment: Assignment) -> None:
        """Begin to run a task. Called on the loop."""
        task = self.loop.create_task(run_async(self._app, assignment, self.state, self._tell))
        self._running[assignment.seq] = task
        task.add_done_callback(partial(self._done, assignment))

    def cancel(self, seq: int) -> None:
        """Cancel a task, if it runs: it ends as `Cancelled`, whatever it makes of that. Called on the loop."""
        task = self._running.get(seq)
        if task is not None:
            self._cancelled.add(seq)
            task.cancel()

    def stop(self) -> Future[None]:
        """Cancel what runs and leave the lifespan; the future is done when the loop is closed and the thread ends."""
        self._stopping = True
        if self._thread.ident is None:
            return _over()
        if not self._left.done():
            with suppress(RuntimeError):  # just now closed, by itself
                self.loop.call_soon_threadsafe(self._ended.set)
        return self._left

    def join(self) -> None:
        """Wait for the thread, which ends as soon as `stop`'s future is done."""
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - a lifespan is user code
            if not self._entered.done():
                self._entered.set_exception(error)
            elif self._stopping:
                _log.exception("the app's lifespan failed as it was left")
            else:
                self._broken(error)
        finally:
            self._has_loop.set()
            self._left.set_result(None)

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._has_loop.set()
        self._on_loop(self.loop)
        self._app.hooks.tell("celeriac_executor_started", app=self._app)
        try:
            await self._live()
        finally:
            self._app.hooks.tell("celeriac_executor_stopped", app=self._app)

    async def _live(self) -> None:
        lifespan = self._app.lifespan_function
        async with nullcontext() if lifespan is None else lifespan() as self.state:
            self._entered.set_result(None)
            await self._ended.wait()
            running = list(self._running.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _done(self, assignment: Assignment, task: asyncio.Task[Result]) -> None:
        del self._running[assignment.seq]
        if assignment.seq in self._cancelled:
            self._cancelled.discard(assignment.seq)
            self._finished(assignment, Cancelled())
        elif task.cancelled() and self._ended.is_set():
            self._finished(assignment, Interrupted())
        else:
            self._finished(assignment, self._result(task))

    def _result(self, task: asyncio.Task[Result]) -> Result:
        """Return what a task ended with; one that has cancelled itself, or thrown itself away, has failed."""
        try:
            return task.result()
        except BaseException as error:  # noqa: BLE001 - such as CancelledError and GeneratorExit
            return failed(self._app, error, 0.0)


def _over() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future
