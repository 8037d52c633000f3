"""A worker inside the caller's process, on a loop in a thread of its own: for tests, small jobs, one-process sites."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

from celeriac.worker.options import WorkerOptions
from celeriac.worker.worker import Worker

if TYPE_CHECKING:
    from types import TracebackType

    from celeriac.app import App


class RunningWorker:
    """``with app.run_worker(pool="thread") as worker:`` - works while the block lasts.

    Leaving the block stops it as a signal would: what runs has the grace, the rest goes back.
    """

    def __init__(self, app: App, **options: Any) -> None:
        """Describe the worker; entering the block starts it.

        Raises:
            UnknownOption: an option of an unknown name, with a did-you-mean.
        """
        self._app = app
        self._options = WorkerOptions.of(app, {"pool": "thread", **options})
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self._error: BaseException | None = None
        self._settled = threading.Event()

    def __enter__(self) -> Self:
        """Start; returns once the worker consumes.

        Raises:
            TransportError: the broker could not be opened.
        """
        self._thread = threading.Thread(target=self._run, name="celeriac-worker", daemon=True)
        self._thread.start()
        self._settled.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop, and wait until it has stopped; raises what the worker ended with, if that was an error."""
        if self._loop is not None and self._worker is not None and self._thread is not None:
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._worker.stop)
            self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 - carried to the thread that waits in __enter__ or __exit__
            self._error = error
        finally:
            self._settled.set()

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker = Worker(self._app, self._options)
        announcing = asyncio.create_task(self._announce(self._worker))
        try:
            await self._worker.run()
        finally:
            announcing.cancel()

    async def _announce(self, worker: Worker) -> None:
        await worker.ready.wait()
        self._settled.set()
