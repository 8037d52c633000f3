"""The workers of a sandbox, and whether they have anything to do."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from celeriac.clock import SystemClock
from celeriac.errors import ResultTimeout, TaskError, UnknownTask
from celeriac.testing.sandbox.stuck import NotDrained, report
from celeriac.testing.sandbox.worker import SandboxWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from celeriac.app import App
    from celeriac.events import Finished
    from celeriac.testing.sandbox.broker import Stored
    from celeriac.testing.sandbox.clock import ShiftedClock

LOOK_EVERY = 0.02
_monotonic = SystemClock().monotonic


class Patience:
    """How long somebody waits, in real seconds, from now on."""

    def __init__(self, seconds: float) -> None:
        """Begin to wait."""
        self.seconds = seconds
        self._until = _monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """The time is over."""
        return _monotonic() >= self._until


class Crew:
    """The workers that work now.

    Attributes:
        workers: in the order in which they began.
    """

    def __init__(self, app: App, clock: ShiftedClock, contents: Callable[[], Sequence[Stored]]) -> None:
        """Begin with nobody.

        Args:
            app: whose tasks are run.
            clock: of the sandbox.
            contents: returns what is in the broker, dead letters left out.
        """
        self._app = app
        self._clock = clock
        self._contents = contents
        self._news = threading.Event()
        self.workers: list[SandboxWorker] = []

    @contextmanager
    def hire(self, **options: Any) -> Iterator[SandboxWorker]:
        """Return a block in which one more works; options as `App.run_worker`."""
        with SandboxWorker(self._app, self._news.set, **options) as worker:
            self.workers.append(worker)
            try:
                yield worker
            finally:
                self.workers.remove(worker)

    @property
    def consumed(self) -> set[str]:
        """The queues that somebody consumes."""
        return {queue for worker in self.workers for queue in worker.queues}

    def wait(self, patience: Patience) -> None:
        """Return when nobody has anything to do, or nobody is left.

        Raises:
            NotDrained: it took too long.
        """
        while not self._is_idle():
            if patience.is_over:
                raise NotDrained(self.report(f"not done after {patience.seconds:g} s"))
            self._news.wait(LOOK_EVERY)
            self._news.clear()

    def report(self, head: str) -> str:
        """Return ``head``, and a paragraph for each task that is not done."""
        runs = {task_id: run for worker in self.workers for task_id, run in worker.runs.items()}
        looks = [worker.look() for worker in self.workers]
        return f"{head}:\n{report(self._contents(), runs, self.consumed, self._clock.now(), looks)}"

    def error_of(self, failed: Sequence[Finished]) -> BaseException:
        """Return what the first of these runs has raised, told of all."""
        first = failed[0]
        error: BaseException = TaskError(f"{first.task} has {first.why}: {first.shown}\n{first.traceback or ''}")
        with suppress(ResultTimeout, UnknownTask):
            raised = self._app.AsyncResult(first.task_id).get(timeout=0, propagate=False)
            error = raised if isinstance(raised, BaseException) else error
        for event in failed:
            error.add_note(f"drain(): {event.task}[{event.task_id}] has {event.why}: {event.shown}")
        return error

    def _is_idle(self) -> bool:
        """Nothing is to be taken or under way, and nothing has moved while this was looked at."""
        if all(worker.has_ended for worker in self.workers):
            return True
        before, consumed = [worker.load() for worker in self.workers], self.consumed
        if any(each.state == "ready" and each.queue in consumed for each in self._contents()):
            return False
        resting = all(load is not None and not load.under_way for load in before)
        return resting and before == [worker.load() for worker in self.workers]
