"""Which child gets which job, and which jobs wait."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.worker.executors.base import PoolOptions
    from celeriac.worker.executors.child_process import ChildProcess
    from celeriac.worker.job import Job


class Dispatch:
    """Hands jobs to the least loaded child, and keeps what no child has room for.

    Attributes:
        children: those that jobs are given to.
    """

    def __init__(self, options: PoolOptions) -> None:
        """Fill each child as ``options`` allow."""
        self.children: list[ChildProcess] = []
        self._sync_room = options.threads * (1 + options.ahead)
        self._async_room = options.coroutines
        self._sync: deque[Job] = deque()
        self._coroutines: deque[Job] = deque()

    @property
    def pending(self) -> bool:
        """There are jobs that no child has begun."""
        return bool(self._sync or self._coroutines or any(map(_unstarted, self.children)))

    def submit(self, job: Job) -> None:
        """Give a job to a child; keep it if none has room, or others came first."""
        waiting = self._coroutines if job.is_async else self._sync
        if waiting or not self._place(job):
            waiting.append(job)

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Put jobs before all that wait, in order."""
        for job in sorted(jobs, key=_seq, reverse=True):
            (self._coroutines if job.is_async else self._sync).appendleft(job)

    def fill(self) -> None:
        """Give waiting jobs to the children that have room."""
        for waiting in (self._sync, self._coroutines):
            while waiting and self._place(waiting[0]):
                waiting.popleft()

    def recall(self, limit: int | None = None) -> list[Job]:
        """Take back up to ``limit`` jobs that have not begun: those that wait here first, the last first."""
        taken: list[Job] = []
        for waiting in (self._coroutines, self._sync):
            taken += [waiting.pop() for _ in islice(range(len(waiting)), _room(limit, taken))]
        for child in sorted(self.children, key=_unstarted, reverse=True):
            if child.unstarted and len(taken) != limit:
                taken += reversed(child.take_last(_room(limit, taken)))
        return taken

    def level(self, idle: ChildProcess) -> None:
        """Give ``idle``, if it has no ``def`` job, half of what waits in front of the child where most waits."""
        if idle.sync.jobs or not idle.accepts:
            return
        fullest = max(self.children, key=_waiting_in_front)
        waiting = fullest.sync.unstarted
        if waiting:
            self.put_back(fullest.take_first((waiting + 1) // 2))
            self.fill()

    def look(self) -> None:
        """Notice children that are silent while jobs wait in front of them, and give these jobs to others.

        To be called a few times a second.
        """
        for child in self.children:
            if child.look():
                self.put_back(child.take_last())
        self.fill()
        for child in self.children:
            self.level(child)

    def _place(self, job: Job) -> bool:
        best = self._least_loaded(is_async=job.is_async)
        return best is not None and best.give(job)

    def _least_loaded(self, *, is_async: bool) -> ChildProcess | None:
        """Return the child with the fewest jobs of this kind, and of these the one with the fewest of the other."""
        room = self._async_room if is_async else self._sync_room
        least, best = (room, 0), None
        for child in self.children:
            sync, coroutines = len(child.sync.jobs), len(child.coroutines.jobs)
            load = (coroutines, sync) if is_async else (sync, coroutines)
            if load < least and child.accepts:
                least, best = load, child
        return best


def _room(limit: int | None, taken: list[Job]) -> int | None:
    return None if limit is None else limit - len(taken)


def _seq(job: Job) -> int:
    return job.seq


def _unstarted(child: ChildProcess) -> int:
    return child.unstarted


def _waiting_in_front(child: ChildProcess) -> int:
    return child.sync.unstarted
