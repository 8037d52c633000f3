"""What the worker asks of a pool of executors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from celeriac.message import Message, Receipt
    from celeriac.worker.job import Job, Outcome, Sentence
    from celeriac.worker.logs import LogOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """How large a pool is, and when a child is replaced.

    Attributes:
        concurrency: executors: processes, or threads of the thread pool.
        threads: ``def`` tasks that one executor process runs at a time.
        coroutines: ``async def`` tasks that one executor runs at a time.
        max_tasks_per_child: replaced after so many tasks; 0 is never.
        max_memory_per_child: replaced, once idle, above so many KiB of resident memory; 0 is never.
        stall_timeout: killed when it has work and says nothing for so many seconds; ``None`` is never.
        log: what its processes log, and how; ``None`` leaves that to the app.
        ahead: how many ``def`` jobs may wait in front of one executor's slot, unstarted.
    """

    concurrency: int
    threads: int = 1
    coroutines: int = 100
    max_tasks_per_child: int = 0
    max_memory_per_child: int = 0
    stall_timeout: float | None = None
    log: LogOptions | None = None
    ahead: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCalls:
    """What a pool tells its worker; each is called on the worker's loop and must not raise.

    Attributes:
        started: an executor has taken the job and runs it now.
        progress: what a running job tells of its progress: encoded, with its content type and content encoding.
        finished: the job is out of the pool, with its outcome.
        publish: a task wants messages published; answers with their receipts.
        failed: the pool cannot go on (say, the app does not import in a child); the text is for a person.
    """

    started: Callable[[Job], None]
    progress: Callable[[Job, bytes, str, str], None]
    finished: Callable[[Job, Outcome], None]
    publish: Callable[[Sequence[Message]], Awaitable[Sequence[Receipt]]]
    failed: Callable[[str], None]


class Pool(ABC):
    """Runs jobs. All methods are called on the worker's loop, and none but `start` and `stop` waits.

    Attributes:
        can_kill: `kill` ends any job.
    """

    can_kill: ClassVar[bool] = False

    @property
    @abstractmethod
    def sync_slots(self) -> int:
        """How many ``def`` tasks run at a time."""

    @property
    @abstractmethod
    def async_slots(self) -> int:
        """How many ``async def`` tasks run at a time."""

    @abstractmethod
    async def start(self) -> None:
        """Be ready to run jobs; returns when every executor has imported the app."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Take a job; it runs at once if a slot is free, else it waits here in order."""

    @abstractmethod
    def recall(self, limit: int | None = None) -> list[Job]:
        """Return jobs that no executor has begun, the last submitted first; they will not be run here."""

    @abstractmethod
    def cancel(self, seq: int, sentence: Sentence) -> None:
        """Cancel an ``async def`` job that runs: it ends with ``sentence``, unless it was done already."""

    def kill(self, seq: int, sentence: Sentence) -> None:  # noqa: B027 - most pools have nothing to kill
        """End a job that an executor has taken, with its process: it ends with ``sentence``.

        Its neighbours are `Interrupted`. Where processes cannot be killed (`can_kill`), this does nothing.
        """

    @abstractmethod
    async def stop(self, grace: float) -> None:
        """Wait up to ``grace`` seconds for what runs, then end it as `Interrupted`; leave nothing behind.

        What had not begun is not waited for: the worker recalls it first.
        """
