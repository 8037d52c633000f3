"""Ends jobs before they end by themselves: at their hard limit, or because they were revoked."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from celeriac.worker.job import TimedOut

if TYPE_CHECKING:
    from celeriac.worker.executors.base import Pool
    from celeriac.worker.job import Job, Sentence

logger = logging.getLogger("celeriac.worker")

PATIENCE_SECONDS = 1.0


class Terminator:
    """Keeps the hard limits of one pool's jobs; a job without one costs it nothing.

    Attributes:
        timers: by a job's number, what is to be done to it when its time is over.
    """

    def __init__(self, pool: Pool) -> None:
        """End jobs of ``pool``."""
        self._pool = pool
        self.timers: dict[int, asyncio.TimerHandle] = {}

    def began(self, job: Job, limit: float) -> None:
        """Take note that a job runs from now on, for ``limit`` seconds at most."""
        loop = asyncio.get_running_loop()
        self.timers[job.seq] = loop.call_later(limit, self.end, job, TimedOut(limit=limit))

    def ended(self, job: Job) -> None:
        """Take note that a job has left the pool."""
        timer = self.timers.pop(job.seq, None)
        if timer is not None:
            timer.cancel()

    def end(self, job: Job, sentence: Sentence) -> None:
        """End a running job with its process, where it can be killed; a coroutine is asked to end first."""
        self.ended(job)
        if job.is_async:
            self._pool.cancel(job.seq, sentence)
            loop = asyncio.get_running_loop()
            self.timers[job.seq] = loop.call_later(PATIENCE_SECONDS, self._kill, job, sentence)
        else:
            self._kill(job, sentence)

    def _kill(self, job: Job, sentence: Sentence) -> None:
        self.timers.pop(job.seq, None)
        if self._pool.can_kill:
            self._pool.kill(job.seq, sentence)
        else:
            logger.warning("%s[%s] goes on: nothing can end it here (%s)", job.header.task, job.header.id, sentence)

    def ask(self, job: Job, sentence: Sentence) -> None:
        """End a running coroutine if it lets itself be cancelled; a ``def`` task goes on."""
        if job.is_async:
            self._pool.cancel(job.seq, sentence)
