"""A worker in a process of its own: the loop it lives on, and the signals that end it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from celeriac.cli import exits, tasklog
from celeriac.cli.signals import handled
from celeriac.worker.executors.solo import SoloPool
from celeriac.worker.probes import probes
from celeriac.worker.reporter import Reporter
from celeriac.worker.worker import Worker

if TYPE_CHECKING:
    from types import FrameType

    from celeriac.app import App
    from celeriac.cli.banner import Banner
    from celeriac.worker.options import WorkerOptions

logger = logging.getLogger("celeriac.worker")

LEAVE_SECONDS = 1.0


class Serving:
    """Runs one worker on the main thread, where signals arrive.

    The first TERM or INT stops the worker, the second leaves no grace, a third is the system's own. With the solo pool
    the main thread runs the ``def`` tasks and the worker's loop lives in another.
    """

    def __init__(self, app: App, options: WorkerOptions, banner: Banner, health_port: int | None = None) -> None:
        """Start nothing.

        Args:
            app: whose tasks are run.
            options: of the worker.
            banner: speaks for it.
            health_port: where its health is served over HTTP.
        """
        self._app = app
        self._options = options
        self._banner = banner
        self._health_port = health_port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self._reporter: Reporter | None = None
        self._running: asyncio.Task[None] | None = None
        self._asked = 0
        self._settled = threading.Event()  # the worker is ready, or over
        self._left = threading.Event()  # the main thread runs no task
        self._error: BaseException | None = None

    def run(self) -> None:
        """Serve until a signal.

        Raises:
            CeleriacError: it could not start, or could not go on.
        """
        with handled(self._told, signal.SIGTERM, signal.SIGINT):
            if self._options.pool == "solo":
                self._run_beside()
            else:
                asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker = worker = Worker(self._app, self._options)
        self._banner.show(worker)
        tasklog.observe(worker.observers)
        self._reporter = reporter = Reporter(worker)
        async with probes(reporter, self._health_port, self._app.clock):
            self._running = asyncio.create_task(worker.run())
            beside = [asyncio.create_task(reporter.run()), asyncio.create_task(self._announce(worker))]
            if self._asked:
                self._stop()
            try:
                await self._running
            except asyncio.CancelledError:
                if not self._asked:
                    raise
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)

    async def _announce(self, worker: Worker) -> None:
        await worker.ready.wait()
        self._banner.ready(worker)
        self._settled.set()

    def _run_beside(self) -> None:
        """Run the loop in another thread, and on this one the tasks of its pool."""
        beside = threading.Thread(target=self._serve_beside, name="celeriac-worker")
        beside.start()
        self._settled.wait()
        if self._worker is not None and self._worker.ready.is_set() and isinstance(self._worker.pool, SoloPool):
            self._worker.pool.run_forever()
        self._left.set()
        beside.join()
        if self._error is not None:
            raise self._error

    def _serve_beside(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again on the main thread
            self._error = error
        self._settled.set()
        if not self._left.wait(LEAVE_SECONDS):
            logger.warning("left a task that had not ended; its message has gone back to the queue")
            sys.stdout.flush()
            os._exit(exits.OK if self._error is None else exits.FAILED)  # nothing else ends a busy main thread

    def _told(self, number: int, _frame: FrameType | None) -> None:
        self._asked += 1
        if self._asked > 1:
            signal.signal(number, signal.SIG_DFL)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # closed already: we are leaving
                self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        """Stop the worker; one that is still starting is simply cancelled."""
        if self._worker is None or self._running is None:
            return
        if not self._worker.ready.is_set():
            self._running.cancel()
            return
        logger.info("stopping%s", " at once" if self._asked > 1 else "")
        self._worker.stop(at_once=self._asked > 1)
        if self._reporter is not None:
            self._reporter.tell()  # whoever takes our place need not wonder at a namesake
