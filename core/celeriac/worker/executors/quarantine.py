"""Where tasks run that are accused of having killed a child: alone, each in a child that has nothing else to do."""

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
    """Some children, each made when an accused job finds none idle, and ended when none came to it for a while.

    Attributes:
        children: while there are any.
        waiting: the jobs that wait for one.
    """

    def __init__(self, most: int, bear: Callable[[], ChildProcess], leave: Callable[[ChildProcess], None]) -> None:
        """Make up to ``most`` children with ``bear``, and end each with ``leave``."""
        self.children: list[ChildProcess] = []
        self.waiting: deque[Job] = deque()
        self._most = most
        self._bear = bear
        self._leave = leave
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def submit(self, job: Job) -> None:
        """Run a job in a child of its own, once there is one."""
        self.waiting.append(job)
        self.fill()

    def fill(self) -> None:
        """Give each idle child a job; see that there are children while jobs wait."""
        for child in self.children:
            if child.accepts and child.idle:
                self._employ(child)
        to_come = sum(not child.ready for child in self.children)
        for _ in range(min(len(self.waiting) - to_come, self._most - len(self.children))):
            self.children.append(self._bear())

    def lost(self, child: ChildProcess) -> None:
        """Take note that a child has ended."""
        self.children.remove(child)
        self._keep(child)
        self.fill()

    def close(self) -> None:
        """Stop the timers."""
        for child in self.children:
            self._keep(child)

    def _employ(self, child: ChildProcess) -> None:
        self._keep(child)
        if not self.waiting:
            loop = asyncio.get_running_loop()
            self._timers[child.token] = loop.call_later(IDLE_SECONDS, self._leave, child)
        elif child.give(self.waiting[0]):
            self.waiting.popleft()

    def _keep(self, child: ChildProcess) -> None:
        timer = self._timers.pop(child.token, None)
        if timer is not None:
            timer.cancel()
