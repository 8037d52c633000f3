"""The thread pool: tasks run in threads of the worker's own process.

For tests, for small programs and for tasks that mostly wait. What a process of its own gives is not to be had here: a
task that crashes or leaks takes the worker with it, one that holds the GIL stops it, and none can be killed, though a
coroutine can be cancelled. A task's publishes go through the app's own client.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from celeriac.crossing import Crossing
from celeriac.errors import ConfigurationError
from celeriac.worker.executors.base import Pool
from celeriac.worker.executors.loop_lane import LoopLane
from celeriac.worker.executors.progress import Progress
from celeriac.worker.job import Cancelled, Interrupted
from celeriac.worker.run import run_sync, user_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from celeriac.app import App
    from celeriac.worker.executors.base import PoolCalls, PoolOptions
    from celeriac.worker.job import Assignment, Job, Sentence, Told

LEAVE_SECONDS = 5.0
NOT_HERE = {"threads": 1, "max_tasks_per_child": 0, "max_memory_per_child": 0, "stall_timeout": None}


class ThreadPool(Pool):
    """Runs ``def`` tasks in ``concurrency`` threads and ``async def`` tasks on the loop of one more."""

    def __init__(self, app: App, options: PoolOptions, calls: PoolCalls) -> None:
        """Describe the pool; `start` makes it.

        Args:
            app: whose tasks are run.
            options: how many threads and coroutines.
            calls: what the worker is told; its ``publish`` is not used.

        Raises:
            ConfigurationError: an option that means nothing without child processes.
        """
        for name, nothing in NOT_HERE.items():
            if getattr(options, name) != nothing:
                raise ConfigurationError(f"{name} needs child processes; use the process pool, or leave it out")
        self._app = app
        self._options = options
        self._calls = calls
        self._progress = Progress(app.codecs, self._tell_progress)
        self._lane = LoopLane(app, self._done, self._broken, self._progress.note)
        self._threads: list[threading.Thread] = []
        self._sync: deque[Job] = deque()
        self._coroutines: deque[Job] = deque()
        self._taken: dict[int, Job] = {}
        self._sentences: dict[int, Sentence] = {}
        self._on_lane = 0
        self._work = threading.Condition()
        self._ending = False
        self._told = Crossing(_tell)
        self._news = asyncio.Event()

    @property
    def sync_slots(self) -> int:
        """Threads."""
        return self._options.concurrency

    @property
    def async_slots(self) -> int:
        """Coroutines."""
        return self._options.coroutines

    async def start(self) -> None:
        """Enter the app's lifespan and start the threads. What the lifespan raises, this raises."""
        self._loop = asyncio.get_running_loop()
        await asyncio.wrap_future(self._lane.start(self._progress.begin))
        self._start_threads()

    def submit(self, job: Job) -> None:
        """Take a job. One that is to run alone has no other place to run here."""
        if job.is_async:
            self._coroutines.append(job)
            self._fill_lane()
            return
        with self._work:
            self._sync.append(job)
            self._work.notify()

    def recall(self, limit: int | None = None) -> list[Job]:
        """Return jobs that no thread has taken."""
        taken: list[Job] = []
        with self._work:
            for waiting in (self._coroutines, self._sync):
                while waiting and len(taken) != limit:
                    taken.append(waiting.pop())
        return taken

    def cancel(self, seq: int, sentence: Sentence) -> None:
        """Cancel a coroutine on its loop."""
        job = self._taken.get(seq)
        if job is not None and job.is_async:
            self._sentences[seq] = sentence
            self._lane.loop.call_soon_threadsafe(self._lane.cancel, seq)

    async def stop(self, grace: float) -> None:
        """Wait for what runs; then cancel the coroutines, and leave threads that still run to themselves."""
        for job in self.recall():
            self._calls.finished(job, Interrupted())
        await self._until_idle(grace)
        with self._work:
            self._ending = True
            self._work.notify_all()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.shield(asyncio.wrap_future(self._lane.stop()))
                self._lane.join()
        self._told.hand_over()
        if not self._taken:
            for thread in self._threads:
                thread.join()
        self._threads.clear()  # one that was left to itself is not waited for by a second stop either
        for job in list(self._taken.values()):
            self._finish(job, Interrupted())

    def work(self) -> None:
        """Run ``def`` tasks on this thread until the pool stops."""
        while (job := self._next()) is not None:
            self._soon(self._calls.started, job)
            state, tell = self._lane.state, self._progress.note
            outcome = copy_context().run(run_sync, self._app, job.assignment, state, tell)
            self._soon(self._finish, job, outcome)

    def _start_threads(self) -> None:
        for number in range(1, self._options.concurrency + 1):
            thread = threading.Thread(target=self.work, name=f"celeriac-task-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _next(self) -> Job | None:
        with self._work:
            while not self._sync and not self._ending:
                self._work.wait()
            if self._ending:
                return None
            job = self._sync.popleft()
            self._taken[job.seq] = job
            return job

    def _fill_lane(self) -> None:
        """Hand coroutines to the loop that runs them, up to their number."""
        while self._coroutines and self._on_lane < self._options.coroutines:
            job = self._coroutines.popleft()
            self._on_lane += 1
            self._taken[job.seq] = job
            self._lane.loop.call_soon_threadsafe(self._begin, job)

    # on the loop that runs coroutines

    def _begin(self, job: Job) -> None:
        self._soon(self._calls.started, job)
        self._lane.run(job.assignment)

    def _tell_progress(self, latest: Mapping[int, tuple[bytes, str, str]]) -> None:
        self._soon(self._progressed, latest)

    def _done(self, assignment: Assignment, outcome: Told | Interrupted) -> None:
        self._soon(self._finish, self._taken[assignment.seq], outcome)

    def _broken(self, error: BaseException) -> None:
        self._soon(self._calls.failed, user_traceback(error))

    # from any thread, to the worker's loop

    def _soon(self, call: Callable[..., None], *args: object) -> None:
        """Have ``call`` called on the worker's loop."""
        with contextlib.suppress(RuntimeError):  # closed: this is a thread that was left to itself
            self._told.put((call, args), self._loop)

    def _progressed(self, latest: Mapping[int, tuple[bytes, str, str]]) -> None:
        for seq, encoded in latest.items():
            if seq in self._taken:
                self._calls.progress(self._taken[seq], *encoded)

    def _finish(self, job: Job, told: Told | Interrupted) -> None:
        if self._taken.pop(job.seq, None) is None:
            return  # it was given up before it ended
        sentence = self._sentences.pop(job.seq, None)
        outcome = (sentence or Interrupted()) if isinstance(told, Cancelled) else told
        self._on_lane -= job.is_async
        self._calls.finished(job, outcome)
        self._fill_lane()
        self._news.set()

    async def _until_idle(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._taken:
                    self._news.clear()
                    await self._news.wait()


def _tell(calls: Iterator[tuple[Callable[..., None], tuple[Any, ...]]]) -> None:
    for call, args in calls:
        call(*args)
