"""What the writer is asked to do, and how the answers get back to the event loops."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence

    from celeriac_sqlite.database import Database

    Look = Callable[[Database, Any], Any]
    Operation = Callable[[Database, Sequence[Any]], Sequence[Any]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One call.

    Attributes:
        future: completed on its own loop.
        payload: what to do it with.
        look: reads; what it answers is the answer, unless there is an ``operation`` and it answers ``None``.
        operation: writes; is given the payloads of all jobs of the transaction that want it.
        weight: about how many rows it writes.
        recallable: not begun yet, it is not done once its future is cancelled.
    """

    future: asyncio.Future[Any]
    payload: Any
    look: Look | None = None
    operation: Operation | None = None
    weight: int = 1
    recallable: bool = False

    @property
    def is_recalled(self) -> bool:
        """Nobody wants it done any more."""
        return self.recallable and self.future.cancelled()


@dataclass(frozen=True, slots=True, eq=False)
class Sleeper:
    """Somebody on a loop who wants to know when things of these kinds change."""

    loop: asyncio.AbstractEventLoop
    event: asyncio.Event
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a job: a value, or an exception to raise."""

    job: Job
    value: Any


def deliver(answers: Iterable[Answer], sleepers: Iterable[Sleeper]) -> None:
    """Complete the futures and set the events, from any thread; each loop is woken once."""
    loops: dict[asyncio.AbstractEventLoop, tuple[list[Answer], list[Sleeper]]] = {}
    for answer in answers:
        loops.setdefault(answer.job.future.get_loop(), ([], []))[0].append(answer)
    for sleeper in sleepers:
        loops.setdefault(sleeper.loop, ([], []))[1].append(sleeper)
    for loop, parcel in loops.items():
        try:
            loop.call_soon_threadsafe(_arrive, *parcel)
        except RuntimeError:  # the loop was closed: nobody waits there any more
            logger.debug("%d answers came too late for their event loop", len(parcel[0]))


def _arrive(answers: Sequence[Answer], sleepers: Sequence[Sleeper]) -> None:
    for answer in answers:
        future = answer.job.future
        if future.done():  # cancelled meanwhile
            continue
        if isinstance(answer.value, Exception):
            future.set_exception(answer.value)
        else:
            future.set_result(answer.value)
    for sleeper in sleepers:
        sleeper.event.set()
