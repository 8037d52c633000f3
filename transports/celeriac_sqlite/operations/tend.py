"""Looking at queues, and tending them. What may touch many rows works in steps, so that no transaction is long."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.transport import Depth
from celeriac_sqlite import queries
from celeriac_sqlite.database import micros
from celeriac_sqlite.doorbell import MESSAGES
from celeriac_sqlite.operations.claim import candidates, content, first_due, promote
from celeriac_sqlite.operations.publish import DELAYED
from celeriac_sqlite.rows import message_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.clock import Clock
    from celeriac.message import Message
    from celeriac_sqlite.database import Database

STEP = 2000  # rows dropped by one transaction: some 15 ms
SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class AtQueue:
    """Speaks of ``queue``, as it is now."""

    queue: str
    clock: Clock


@dataclass(frozen=True, slots=True)
class Peek(AtQueue):
    """Look at the next ``limit`` messages."""

    limit: int


@dataclass(frozen=True, slots=True)
class Purge(AtQueue):
    """Drop what is ready or delayed, as far as it has a number up to ``last``."""

    last: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Hold ``queue`` back, or not."""

    queue: str
    paused: bool


def exists(database: Database, queue: str) -> bool:
    """Return `True`.

    Raises:
        QueueNotFound: there is no such queue.
    """
    return database.catalog.queue(queue) is not None


def nothing_due(database: Database, call: AtQueue) -> bool | None:
    """Return `True` if everything of the queue stands where it belongs, ``None`` if something has fallen due.

    Raises:
        QueueNotFound: there is no such queue.
    """
    due = first_due(database, [database.catalog.queue(call.queue).id])
    return True if due is None or due > micros(call.clock.now()) else None


def tidy(database: Database, calls: Sequence[AtQueue]) -> list[bool]:
    """Make ready what has fallen due; `True` once nothing more has."""
    for call in calls:
        promote(database, [database.catalog.queue(call.queue).id], micros(call.clock.now()))
    return [bool(nothing_due(database, call)) for call in calls]


def depth(database: Database, call: AtQueue) -> Depth:
    """Count.

    Raises:
        QueueNotFound: there is no such queue.
    """
    kept = database.catalog.queue(call.queue)
    (ready,) = database.rows(queries.READY_COUNT, queue=kept.id)
    waiting = dict(database.rows(queries.WAITING_COUNTS, queue=kept.id))
    levels = json.dumps([*range(kept.queue.priorities)])
    oldest = [since for since in database.rows(queries.OLDEST, queue=kept.id, priorities=levels) if since is not None]
    return Depth(
        ready=ready,
        running=sum(waiting.values()) - waiting.get(DELAYED, 0),
        delayed=waiting.get(DELAYED, 0),
        oldest_age=max(0, micros(call.clock.now()) - min(oldest)) / SECOND if oldest else None,
        paused=kept.paused,
    )


def peek(database: Database, call: Peek) -> Sequence[Message]:
    """Read the next messages.

    Raises:
        QueueNotFound: there is no such queue.
    """
    queue = database.catalog.queue(call.queue).id
    chosen = candidates(database, {queue: call.queue}, call.limit)[queue]
    kept = content(database, chosen)
    found = []
    for one in chosen:
        priority, _, _, properties, body = kept[one.seq]
        found.append(message_of(properties, body, priority))
    return found


def last_number(database: Database, calls: Sequence[AtQueue]) -> list[int]:
    """Return a number above those of all messages that are there.

    Raises:
        QueueNotFound: there is no such queue.
    """
    for call in calls:
        database.catalog.queue(call.queue)
    return [*database.numbers(len(calls))]


def purge(database: Database, calls: Sequence[Purge]) -> list[int]:
    """Drop one step's worth; return how many, which is 0 when all is done."""
    return [_purge(database, call) for call in calls]


def condemn(database: Database, calls: Sequence[str]) -> list[bool]:
    """Take the queues away, so that nobody finds them; `sweep` drops what is in them."""
    for name in calls:
        if name in database.catalog.table.queues:
            database.run(queries.UNBIND, name=name)
            database.run(queries.CONDEMN_QUEUE, queue=database.catalog.queue(name).id)
            database.topology_changed()
    return [True] * len(calls)


def nothing_condemned(database: Database, _call: None) -> bool | None:
    """Return `True` if there is nothing to sweep, ``None`` if there is."""
    return None if database.rows(queries.CONDEMNED_QUEUES) else True


def sweep(database: Database, calls: Sequence[None]) -> list[bool]:
    """Drop one step's worth of what deleted queues held; `True` when all is done."""
    condemned = [queue for (queue,) in database.rows(queries.CONDEMNED_QUEUES)]
    if condemned:
        seqs = database.rows(queries.SOME_OF_QUEUE, queue=condemned[0], limit=STEP)
        database.run(queries.DROP_ENTRIES, seqs=json.dumps(seqs))
        if len(seqs) < STEP:
            database.run(queries.DROP_QUEUE, queue=condemned[0])
    return [not condemned] * len(calls)


def set_paused(database: Database, calls: Sequence[Pause]) -> list[bool]:
    """Hold queues back, or let them go.

    Raises:
        QueueNotFound: there is no such queue.
    """
    for call in calls:
        database.run(queries.SET_PAUSED, queue=database.catalog.queue(call.queue).id, paused=call.paused)
    database.topology_changed()
    database.rings.add(MESSAGES)
    return [True] * len(calls)


def _purge(database: Database, call: Purge) -> int:
    queue = database.catalog.queue(call.queue).id
    promote(database, [queue], micros(call.clock.now()))
    seqs = database.rows(queries.SOME_READY, queue=queue, last=call.last, limit=STEP)
    seqs += database.rows(queries.SOME_DELAYED, queue=queue, last=call.last, limit=STEP - len(seqs))
    database.run(queries.DROP_ENTRIES, seqs=json.dumps(seqs))
    return len(seqs)
