"""The values that walk through the worker's rooms, between admit and decide. Frozen data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.message import Delivery
    from celeriac.protocol import ErrorData, Packed, TaskHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What an executor needs to run a task; all of it can be marshalled.

    Attributes:
        seq: names the job within its worker, from 1.
        task: the task's name.
        body: still encoded; it is decoded where it runs.
        content_type: of the body.
        content_encoding: of the body.
        compression: of the body, as its header names it.
        signature: of a body that can run code; it is verified where it runs.
        soft_limit: seconds after which `SoftTimeLimitExceeded` is raised in it.
        request: the fields of `celeriac.task.Request` that the message carries.
    """

    seq: int
    task: str
    body: bytes
    content_type: str
    content_encoding: str
    compression: str | None = None
    signature: str | None = None
    soft_limit: float | None = None
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A delivery that may run.

    Attributes:
        delivery: what came.
        header: its task headers, parsed.
        assignment: what goes to the executor.
        is_async: the task is a coroutine function.
        alone: it is accused of having killed a child: no other task runs beside it.
        acks_late: acknowledged after its result is stored; otherwise when an executor takes it.
        ignore_result: its result is not stored.
        track_started: that it has begun is stored.
        hard_limit: seconds after which it is ended.
    """

    delivery: Delivery
    header: TaskHeader
    assignment: Assignment
    is_async: bool = False
    alone: bool = False
    acks_late: bool = True
    ignore_result: bool = False
    track_started: bool = False
    hard_limit: float | None = None

    @property
    def seq(self) -> int:
        """The job's number within its worker."""
        return self.assignment.seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """The task returned: its encoded result, what to show of it, and how long it took in seconds."""

    body: bytes
    content_type: str
    content_encoding: str
    shown: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The task raised: the exception as data, its traceback as text, and how long it took in seconds.

    ``exhausted``: it would have been tried again, had it not been tried as often, or for as long, as it may.
    """

    error: ErrorData
    traceback: str
    seconds: float
    exhausted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """The task is to be run again: why, in how many seconds, and with which body and signature if not the same."""

    error: ErrorData
    traceback: str
    delay: float
    seconds: float
    packed: Packed | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """The task wants to be forgotten."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snoozed:
    """The task is to be run again after ``delay`` seconds, and this attempt is not counted."""

    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The task does not count as run: it goes back to its queue, or becomes a dead letter with ``reason``."""

    reason: str
    requeue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The message cannot be run by anyone: ``reason`` for a program, ``detail`` for a person."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The task was to begin later than it may: it was not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Died:
    """The executor's process ended while the task ran.

    Attributes:
        exit: what to tell people: ``"signal 9 (SIGKILL)"``, ``"exit code 1"``.
        beside: how many other tasks ran in that process; with none, this one did it.
    """

    exit: str
    beside: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The task was ended before it was done, and it is not its fault.

    The worker is leaving, or has ended its process for the sake of another task.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The task was ended at its hard limit, in seconds."""

    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """The task was ended because it was revoked: ``terminated`` with its process if need be."""

    terminated: bool


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The executor has cancelled the coroutine, as it was told; the pool knows why."""


Result = Succeeded | Failed | Retried | Ignored | Snoozed | Refused | Rejected | Expired
Sentence = TimedOut | Revoked
Outcome = Result | Sentence | Died | Interrupted
Told = Result | Cancelled
