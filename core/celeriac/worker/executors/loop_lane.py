"""The lane of an executor's ``async def`` tasks: one asyncio loop in a thread of its own, for the executor's life."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from celeriac.worker.job import Interrupted
from celeriac.worker.run import run_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.app import App
    from celeriac.worker.job import Assignment, Outcome

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
        finished: Callable[[Assignment, Outcome], None],
        broken: Callable[[BaseException], None],
    ) -> None:
        """Run ``app``'s tasks.

        Args:
            app: the App.
            finished: called on the loop with what became of each task.
            broken: called on the dying thread if the lifespan ends by itself; nothing more is run.
        """
        self._app = app
        self._finished = finished
        self._broken = broken
        self._stopping = False
        self._running: set[asyncio.Task[None]] = set()
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
        task = self.loop.create_task(self._run_one(assignment))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def stop(self) -> Future[None]:
        """Cancel what runs and leave the lifespan; the future is done when the loop is closed and the thread ends."""
        self._stopping = True
        if self._thread.ident is None:
            return _done()
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
        lifespan = self._app.lifespan_function
        async with nullcontext() if lifespan is None else lifespan() as self.state:
            self._entered.set_result(None)
            await self._ended.wait()
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _run_one(self, assignment: Assignment) -> None:
        try:
            outcome = await run_async(self._app, assignment, self.state)
        except asyncio.CancelledError:
            outcome = Interrupted()
        self._finished(assignment, outcome)


def _done() -> Future[None]:
    future: Future[None] = Future()
    future.set_result(None)
    return future
