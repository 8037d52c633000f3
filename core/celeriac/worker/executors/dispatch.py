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
            room = _room(limit, taken)
            if child.unstarted and room != 0:
                taken += reversed(child.take_last(room))
        return taken

    def level(self, idle: ChildProcess) -> None:
        """Give ``idle``, which has no ``def`` job, half of what waits in front of the child where most waits."""
        if idle.sync or not idle.accepts:
            return
        fullest = max(self.children, key=_unstarted)
        if fullest.unstarted:
            self._give_or_keep(idle, fullest.take_first((fullest.unstarted + 1) // 2))

    def look(self) -> None:
        """Notice children that are silent while jobs wait in front of them, give these jobs to idle ones, and fill all.

        To be called a few times a second.
        """
        for child in self.children:
            child.silent = child.silent or (
                child.unstarted > 0 and child.unstarted == len(child.sync) and not child.heard
            )
            child.heard = False
        for child in self.children:
            if not child.silent:
                self.level(child)
        self.fill()

    def _place(self, job: Job) -> bool:
        child = self._least_loaded(is_async=job.is_async)
        return child is not None and child.give(job)

    def _least_loaded(self, *, is_async: bool) -> ChildProcess | None:
        room = self._async_room if is_async else self._sync_room
        least, best = 2 * room, None
        for child in self.children:
            if child.accepts:
                load = len(child.coroutines if is_async else child.sync)
                if load < room:
                    load += room if child.silent else 0
                    if load < least:
                        least, best = load, child
        return best

    def _give_or_keep(self, child: ChildProcess, jobs: list[Job]) -> None:
        for index, job in enumerate(jobs):
            if not child.accepts or not child.give(job):
                self.put_back(jobs[index:])
                return


def _room(limit: int | None, taken: list[Job]) -> int | None:
    return None if limit is None else limit - len(taken)


def _seq(job: Job) -> int:
    return job.seq


def _unstarted(child: ChildProcess) -> int:
    return child.unstarted
