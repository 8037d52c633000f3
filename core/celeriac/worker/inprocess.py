"""A worker inside the caller's process, on a loop in a thread of its own: for tests, small jobs, one-process sites."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from celeriac.worker.options import WorkerOptions
from celeriac.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from celeriac.app import App

T = TypeVar("T")

LOOK_EVERY = 0.05


class RunningWorker:
    """``with app.run_worker(pool="thread") as worker:`` - works while the block lasts.

    Leaving the block stops it as a signal would: what runs has the grace, the rest goes back.

    Attributes:
        error: what it ended with, if that was an error.
    """

    def __init__(self, app: App, *, prepare: Callable[[Worker], None] | None = None, **options: Any) -> None:
        """Describe the worker; entering the block starts it.

        Args:
            app: whose tasks are run.
            prepare: called with the worker, on its loop, before it begins: to add observers, say.
            **options: as `celeriac.worker.WorkerOptions`.

        Raises:
            UnknownOption: an option of an unknown name, with a did-you-mean.
        """
        self._app = app
        self._prepare = prepare
        self._options = WorkerOptions.of(app, {"pool": "thread", **options})
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self.error: BaseException | None = None
        self._settled = threading.Event()

    def __enter__(self) -> Self:
        """Start; returns once the worker consumes.

        Raises:
            TransportError: the broker could not be opened.
        """
        self._thread = threading.Thread(target=self._run, name="celeriac-worker", daemon=True)
        self._thread.start()
        self._settled.wait()
        if self.error is not None:
            self._thread.join()
            raise self.error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, and wait until it has stopped; raises what the worker ended with, if that was an error."""
        self.stop()
        self.join()
        if self.error is not None and error is None:
            raise self.error

    def stop(self, *, at_once: bool = False) -> None:
        """Have it stop, as leaving the block does, and do not wait for it; ``at_once`` leaves no grace."""
        if self._loop is not None and self._worker is not None and self._thread is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # just now closed
                self._loop.call_soon_threadsafe(partial(self._worker.stop, at_once=at_once))

    def join(self) -> None:
        """Return when it has ended, by itself or because it was stopped."""
        if self._thread is not None:
            self._thread.join()

    def ask(self, question: Callable[[Worker], T]) -> T | None:
        """Return what ``question`` says of the worker, asked on its loop; ``None`` if it has ended."""
        worker, loop, thread = self._worker, self._loop, self._thread
        if worker is None or loop is None or thread is None:
            return None
        answer: Future[T] = Future()
        with suppress(RuntimeError):  # the loop is closed, just now
            loop.call_soon_threadsafe(lambda: answer.set_result(question(worker)))
        while not answer.done() and thread.is_alive():
            wait([answer], LOOK_EVERY)
        return answer.result() if answer.done() else None

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits in __enter__ or __exit__
            self.error = error
        finally:
            self._settled.set()

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker = Worker(self._app, self._options)
        if self._prepare is not None:
            self._prepare(self._worker)
        announcing = asyncio.create_task(self._announce(self._worker))
        try:
            await self._worker.run()
        finally:
            announcing.cancel()

    async def _announce(self, worker: Worker) -> None:
        await worker.ready.wait()
        self._settled.set()
