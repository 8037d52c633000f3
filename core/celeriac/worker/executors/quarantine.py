"""Where tasks run that are accused of having killed a child: alone, one after the other, in a child of their own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.worker.executors.child_process import ChildProcess
    from celeriac.worker.job import Job

IDLE_SECONDS = 30.0


class Quarantine:
    """One child, made when the first accused job comes, ended when none came for a while.

    Attributes:
        child: the child, while there is one.
        waiting: the jobs that wait for it.
    """

    def __init__(self, bear: Callable[[], ChildProcess], leave: Callable[[ChildProcess], None]) -> None:
        """Make the child with ``bear``, and end it with ``leave``."""
        self.child: ChildProcess | None = None
        self.waiting: deque[Job] = deque()
        self._bear = bear
        self._leave = leave
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, job: Job) -> None:
        """Run a job when those before it are done."""
        self.waiting.append(job)
        self.fill()

    def fill(self) -> None:
        """Give the child its next job, if it is idle; see that there is a child while there are jobs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.child is None:
            self.child = self._bear() if self.waiting else None
        elif self.child.accepts and self.child.idle:
            if not self.waiting:
                self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._leave, self.child)
            elif self.child.give(self.waiting[0]):
                self.waiting.popleft()

    def lost(self) -> None:
        """Take note that the child has ended."""
        self.child = None
        self.fill()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
