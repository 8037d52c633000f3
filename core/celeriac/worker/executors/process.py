"""The process pool: tasks run in child processes that the worker can lose, kill and replace.

The worker's process calls no function of the user's and shares no lock with a child. Each child has three lanes
(`celeriac.worker.executors.child`), and jobs that no child has begun can be taken back at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING

from celeriac.worker.executors.base import Pool
from celeriac.worker.executors.dispatch import Dispatch
from celeriac.worker.executors.family import Family
from celeriac.worker.executors.quarantine import Quarantine
from celeriac.worker.executors.watch import Watch
from celeriac.worker.job import Died, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.locator import Locator
    from celeriac.worker.executors.base import PoolCalls, PoolOptions
    from celeriac.worker.executors.child_process import ChildProcess
    from celeriac.worker.executors.family import Death
    from celeriac.worker.job import Job, Sentence

LOOK_SECONDS = 0.05
LEAVE_SECONDS = 5.0


class ProcessPool(Pool):
    """Runs jobs in ``concurrency`` child processes."""

    can_kill = True

    def __init__(self, locator: Locator, options: PoolOptions, calls: PoolCalls, *, preload: bool = False) -> None:
        """Describe the pool; `start` makes it.

        Args:
            locator: where the children find the app.
            options: how many children, and what each may hold.
            calls: what the worker is told.
            preload: import the app once, before the children are forked; they share its memory.
        """
        self._options = options
        self._calls = calls
        setup = {
            "locator": locator.to_wire(),
            "preload": preload,
            "threads": options.threads,
            "max_memory": options.max_memory_per_child,
            "log": None if options.log is None else asdict(options.log),
        }
        self._dispatch = Dispatch(options)
        self._family = Family(setup, calls, self)
        self._watch = Watch(self._family, self._everyone, options.stall_timeout)
        self._quarantine = Quarantine(options.concurrency, self._family.bear, self._leave)
        self._stopping = False
        self._failed = False
        self._news = asyncio.Event()
        self._look_timer: asyncio.TimerHandle | None = None
        self._leave_timers: dict[int, asyncio.TimerHandle] = {}

    @property
    def sync_slots(self) -> int:
        """Threads of all children."""
        return self._options.concurrency * self._options.threads

    @property
    def async_slots(self) -> int:
        """Coroutines of all children."""
        return self._options.concurrency * self._options.coroutines

    @property
    def pids(self) -> list[int]:
        """The processes of the children that run."""
        return [child.pid for child in self._everyone() if child.pid is not None]

    async def start(self) -> None:
        """Fork the children; return when each has imported the app, or when ``failed`` was called.

        Raises:
            OSError: no process can be started.
        """
        self._loop = asyncio.get_running_loop()
        self._family.start()
        self._watch.start(self._loop)
        for _ in range(self._options.concurrency):
            self._add_child()
        await self._until(lambda: self._failed or all(child.ready for child in self._dispatch.children))

    def submit(self, job: Job) -> None:
        """Take a job; a child gets it at once if one has room."""
        if job.alone:
            self._quarantine.submit(job)
            return
        self._dispatch.submit(job)
        if self._look_timer is None:
            self._look_timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def recall(self, limit: int | None = None) -> list[Job]:
        """Return jobs that no child has begun, also those that lie in front of a child."""
        alone = self._quarantine.waiting
        taken = [alone.pop() for _ in range(len(alone) if limit is None else min(limit, len(alone)))]
        return taken + self._dispatch.recall(None if limit is None else limit - len(taken))

    def cancel(self, seq: int, sentence: Sentence) -> None:
        """Have a coroutine cancelled by its child."""
        for child in self._everyone():
            if seq in child.coroutines.jobs:
                child.cancel(seq, sentence)

    def kill(self, seq: int, sentence: Sentence) -> None:
        """Kill the child that has the job; another takes its place."""
        for child in self._everyone():
            if child.has(seq):
                child.condemn(seq, sentence)
                self._family.kill(child)

    async def stop(self, grace: float) -> None:
        """Wait for what runs, kill what is left, and reap every process."""
        self._stopping = True
        for job in self.recall():
            self._calls.finished(job, Interrupted())
        await self._until(lambda: all(child.idle for child in self._everyone()), grace)
        for child in self._everyone():
            if child.accepts and child.idle:
                self._leave(child)
            else:
                self._family.kill(child)
        await self._until(lambda: not any(child.leaving for child in self._everyone()), LEAVE_SECONDS)
        for timer in (self._look_timer, *self._leave_timers.values()):
            if timer is not None:
                timer.cancel()
        self._quarantine.close()
        self._watch.close()
        await self._family.close()

    # what the family tells

    def told(self, child: ChildProcess) -> None:
        """Go on with a child that has told something."""
        if child.heavy and child.unstarted:
            self._dispatch.put_back(child.take_last())
        if child.worn and child.idle and not child.leaving:
            self._leave(child)
        elif child in self._quarantine.children:
            self._quarantine.fill()
        else:
            self._dispatch.fill()
            self._dispatch.level(child)
        self._news.set()

    def died(self, death: Death) -> None:
        """Tell what became of the jobs of dead children, and replace these."""
        for child in death.children:
            self._remove(child)
        outcome = Interrupted() if self._stopping else Died(exit=death.exit, beside=len(death.ran) - 1)
        for job, sentence in death.sentenced:
            self._calls.finished(job, sentence)
        for job in death.spared:
            self._calls.finished(job, Interrupted())
        for job in death.ran:
            self._calls.finished(job, outcome)
        self._give_elsewhere(death.unstarted)
        self._news.set()

    def failed(self, text: str) -> None:
        """Tell the worker that no child can begin."""
        self._failed = True
        self._calls.failed(text)
        self._news.set()

    def _everyone(self) -> Sequence[ChildProcess]:
        return [*self._dispatch.children, *self._quarantine.children]

    def _add_child(self) -> None:
        self._dispatch.children.append(self._family.bear(self._options.max_tasks_per_child))

    def _leave(self, child: ChildProcess) -> None:
        """Let an idle child end by itself, and kill it if that takes long."""
        child.leave(self._options.threads)
        self._leave_timers[child.token] = self._loop.call_later(LEAVE_SECONDS, self._family.kill, child)

    def _remove(self, child: ChildProcess) -> None:
        timer = self._leave_timers.pop(child.token, None)
        if timer is not None:
            timer.cancel()
        if child in self._quarantine.children:
            self._quarantine.lost(child)
            return
        self._dispatch.children.remove(child)
        if not self._stopping and not self._failed:
            self._add_child()

    def _give_elsewhere(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if self._stopping:
                self._calls.finished(job, Interrupted())
            elif job.alone:
                self._quarantine.waiting.appendleft(job)
        self._dispatch.put_back(job for job in jobs if not job.alone and not self._stopping)
        self._dispatch.fill()
        self._quarantine.fill()

    def _look(self) -> None:
        self._dispatch.look()
        self._look_timer = None
        if self._dispatch.pending:
            self._look_timer = self._loop.call_later(LOOK_SECONDS, self._look)

    async def _until(self, happened: Callable[[], bool], seconds: float | None = None) -> None:
        """Return when something has happened, or after ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not happened():
                    self._news.clear()
                    await self._news.wait()
