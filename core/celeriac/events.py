"""What observers of a worker are told: one frozen event as a message leaves each room.

============== =====================================================================
`Received`     it was delivered and may run
`Refused`      it was delivered and does not run here and now
`Started`      an executor has begun it
`Finished`     it left the executor, and it is decided what becomes of it
`Unsuccessful` the same, of one that did not succeed
`Settled`      the result is stored and the broker was told
============== =====================================================================

Every event of one message carries the same ``task_id`` and ``task``; for a message that cannot be read these are the
message's id and ``""``. Moments are aware, in UTC; durations are seconds. An observer that raises is logged, never
heeded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """What every event says."""

    task_id: str
    task: str
    queue: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEvent(TaskEvent):
    """What is said of one attempt at a task: ``attempt`` counts from 1."""

    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Received(AttemptEvent):
    """A delivery may run; ``redelivered`` where it was handed over before."""

    redelivered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(TaskEvent):
    """A delivery does not run here and now: ``why`` in a word, ``detail`` in a sentence."""

    why: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(AttemptEvent):
    """An executor has begun the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(AttemptEvent):
    """A task left its executor.

    ``why`` is ``succeeded``, ``failed``, ``interrupted``, ``crashed``, ``accused`` or the reason of a dead letter;
    ``shown`` is a short repr of the result or the error's text; ``seconds`` is how long it ran, where that is known.
    """

    why: str
    shown: str
    seconds: float | None
    traceback: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsuccessful(Finished):
    """A task left its executor without a result: an observer may ask for these alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(TaskEvent):
    """The broker was told; ``receipt`` is ``done``, ``lost`` or ``sent``."""

    receipt: str
