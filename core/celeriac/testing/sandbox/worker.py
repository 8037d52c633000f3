"""A worker of a sandbox: in this process, watched, and started again when a fault has killed it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

from celeriac.clock import SystemClock
from celeriac.errors import CeleriacError
from celeriac.events import Finished, Started, Unsuccessful
from celeriac.testing.sandbox.faults import WorkerCrash, sever
from celeriac.testing.sandbox.stuck import Run
from celeriac.worker.executors.solo import SoloPool
from celeriac.worker.inprocess import RunningWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from celeriac.app import App
    from celeriac.events import TaskEvent
    from celeriac.worker.burst import Load
    from celeriac.worker.worker import Worker

FAILED = frozenset(
    {"failed", "exhausted", "timed out", "rejected", "crashed", "died", "undecodable", "untrusted", "unsupported"}
)
LOOK_EVERY = 0.01
_monotonic = SystemClock().monotonic


class SandboxWorker:
    """``with box.worker(concurrency=2):`` - works while the block lasts, and after a `WorkerCrash` goes on as another.

    Attributes:
        queues: the names of those it consumes.
        finished: every run that has ended, in order.
        crashes: how often it was killed by a fault.
    """

    def __init__(self, app: App, changed: Callable[[], None], **options: Any) -> None:
        """Describe the worker; entering the block starts it.

        Args:
            app: whose tasks are run.
            changed: called, on its thread, at everything that happens.
            **options: as `celeriac.worker.WorkerOptions`.
        """
        self._app = app
        self._changed = changed
        self._options = {"soft_limits_only": True, "concurrency": 1, **options}
        self.queues = tuple(options.get("queues") or (queue.name for queue in app.queues))
        self.finished: list[Finished] = []
        self.crashes = 0
        self._known = 0
        self._begun: dict[str, tuple[str, float]] = {}
        self._running: RunningWorker | None = None
        self._stopping = False
        self._supervisor = threading.Thread(target=self._supervise, name="celeriac-sandbox", daemon=True)

    def __enter__(self) -> Self:
        """Start; returns once it consumes."""
        self._start()
        self._supervisor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop: what runs has the App's grace, the rest goes back; after an error there is no grace.

        Raises:
            CeleriacError: it has ended by itself.
        """
        self.stop(at_once=error is not None)
        self._supervisor.join()
        failure = None if self._running is None else self._running.error
        if failure is not None and error is None:
            raise CeleriacError(f"the worker has ended by itself: {failure!r}") from failure

    def stop(self, *, at_once: bool = False) -> None:
        """Have it stop, and do not wait for it."""
        self._stopping = True
        if self._running is not None:
            self._running.stop(at_once=at_once)

    def lend(self) -> bool:
        """Run ``def`` tasks on this thread until the worker stops or crashes; of the solo pool only.

        Returns whether it goes on, as another.
        """
        running = self._running
        pool = None if running is None else running.ask(lambda worker: worker.pool)
        if running is not None and isinstance(pool, SoloPool):
            pool.run_forever()
            running.join()
        else:
            self._supervisor.join(LOOK_EVERY)  # it is dead, and another is to come
        return not (self._stopping or self.has_ended)

    def news(self) -> list[Finished]:
        """Return the runs that have ended since this was last asked."""
        known, self._known = self._known, len(self.finished)
        return self.finished[known : self._known]

    @property
    def runs(self) -> Mapping[str, Run]:
        """The tasks that run, by their ids."""
        now = _monotonic()
        return {task_id: Run(task, now - since) for task_id, (task, since) in list(self._begun.items())}

    @property
    def has_ended(self) -> bool:
        """It has ended by itself, and is not started again."""
        return not self._supervisor.is_alive()

    def load(self) -> Load | None:
        """Return what it has taken and what is under way; ``None`` while it starts again."""
        return None if self._running is None else self._running.ask(lambda worker: worker.load())

    def look(self) -> Worker | None:
        """Return the worker itself."""
        return None if self._running is None else self._running.ask(lambda worker: worker)

    def sever(self) -> None:
        """Let it lose its connection."""
        if self._running is not None:
            self._running.ask(lambda worker: sever(worker._connection.transport))

    def _start(self) -> None:
        while True:
            self._begun.clear()
            running = RunningWorker(self._app, prepare=self._prepare, **self._options)
            try:
                self._running = running.__enter__()
            except WorkerCrash:  # it had something to do at once
                self.crashes += 1
            else:
                return

    def _supervise(self) -> None:
        while self._running is not None:
            self._running.join()
            if not isinstance(self._running.error, WorkerCrash):
                break
            self.crashes += 1
            self._start()
            if self._stopping:  # it was told to while it was dead
                self._running.stop()
        self._changed()

    def _prepare(self, worker: Worker) -> None:
        worker.observers.add(self._note)

    def _note(self, event: TaskEvent) -> None:
        if isinstance(event, Started):
            self._begun[event.task_id] = (event.task, _monotonic())
        elif isinstance(event, Finished):
            self._begun.pop(event.task_id, None)
            self.finished.append(event)
        self._changed()


def has_failed(event: Finished) -> bool:
    """Return whether a run has ended its task, and not well."""
    return isinstance(event, Unsuccessful) and event.why in FAILED
