"""Messages out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.message import Delivery
from celeriac_sqlite import queries
from celeriac_sqlite.database import micros, moment
from celeriac_sqlite.doorbell import HELD
from celeriac_sqlite.operations.publish import DELAYED
from celeriac_sqlite.rows import message_of, slices

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from celeriac.clock import Clock
    from celeriac_sqlite.database import Database

MOST_PROMOTED = 1000  # a queue and transaction: some 10 ms


class Token(NamedTuple):
    """Names one hand-over: the consumer, the message, and the claim that fences it."""

    consumer: str
    seq: int
    claim: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Take up to ``limit`` messages from ``queues``, of which the first is favoured."""

    consumer: str
    queues: Sequence[str]
    limit: int
    lease: timedelta
    clock: Clock


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim got, and until when nothing more can come by itself."""

    deliveries: Sequence[Delivery] = ()
    next_due: datetime | None = None


class Candidate(NamedTuple):
    """A message that may be claimed."""

    seq: int
    size: int
    queue: str


def look(database: Database, call: Claim) -> Claimed | None:
    """Return when to look again if there is nothing to claim now; ``None`` if there is."""
    queues = database.catalog.deliverable(call.queues)
    due = first_due(database, queues)
    if (due is not None and due <= micros(call.clock.now())) or database.rows(
        queries.ANY_READY, queues=json.dumps([*queues])
    ):
        return None
    return Claimed((), None if due is None else moment(due))


def claim(database: Database, calls: Sequence[Claim]) -> list[Claimed]:
    """Hand messages to each call in turn; priorities strictly, then first come, first served."""
    return [_claim(database, call) for call in calls]


def first_due(database: Database, queues: Iterable[int]) -> int | None:
    """Return the first moment at which something becomes ready by itself."""
    moments = [until for _, until in database.rows(queries.FIRST_DUE, queues=json.dumps([*queues]))]
    return min((until for until in moments if until is not None), default=None)


def promote(database: Database, queues: Iterable[int], now: int) -> None:
    """Make ready what has fallen due, in the order of its moments, and what lost its lease, in its old place."""
    for queue, until in database.rows(queries.FIRST_DUE, queues=json.dumps([*queues])):
        if until is None or until > now:
            continue
        due = sorted(
            database.rows(queries.DUE, queue=queue, now=now, limit=MOST_PROMOTED), key=lambda row: (row[2], row[0])
        )
        delayed = [seq for seq, state, _ in due if state == DELAYED]
        ranks = database.numbers(len(delayed))
        database.run(queries.PROMOTE_DELAYED, rows=json.dumps([*zip(delayed, ranks, strict=True)]))
        database.run(queries.PROMOTE_LOST, seqs=json.dumps([seq for seq, state, _ in due if state != DELAYED]))


def _claim(database: Database, call: Claim) -> Claimed:
    queues = database.catalog.deliverable(call.queues)
    now = call.clock.now()
    promote(database, queues, micros(now))
    chosen = _in_turn(_shares(database, queues, call.limit), call.limit)
    if not chosen:
        due = first_due(database, queues)
        return Claimed((), None if due is None else moment(due))
    (number,) = database.numbers(1)
    until = micros(now + call.lease)
    database.run(queries.HOLD, seqs=json.dumps([one.seq for one in chosen]), until=until, claim=number)
    database.rings.add(HELD)
    kept = content(database, chosen)
    return Claimed([_delivery(one, kept[one.seq], number, until, call.consumer) for one in chosen])


def candidates(database: Database, queues: Mapping[int, str], limit: int) -> dict[int, list[Candidate]]:
    """Return the next messages of each queue, at most ``limit`` of each."""
    found = dict(database.rows(queries.NEXT, queues=json.dumps([*queues]), limit=limit))
    for rows in found.values():
        rows.sort(key=lambda row: (-row[0], row[1]))  # SQL promises no order of the rows that an aggregate sees
    return {queue: [Candidate(seq, size, queues[queue]) for _, _, seq, size in found[queue]] for queue in queues}


def _shares(database: Database, queues: Mapping[int, str], limit: int) -> Collection[list[Candidate]]:
    """Return as many of each queue as are taken when all are asked in turn for ``limit`` messages.

    Each is asked for its share of what is missing, and again those that had all of it: ``limit`` of each
    would be a hundred times too many for a hundred queues.
    """
    found: dict[int, list[Candidate]] = {queue: [] for queue in queues}
    asked, share, missing = queues, 0, limit
    while asked and missing > 0:
        share += -(-missing // len(asked))
        found |= candidates(database, asked, share)
        asked = {queue: name for queue, name in asked.items() if len(found[queue]) == share}
        missing = limit - sum(map(len, found.values()))
    return found.values()


def content(database: Database, chosen: Sequence[Candidate]) -> dict[int, list[Any]]:
    """Return what is kept of each, by its number."""
    kept: dict[int, list[Any]] = {}
    for some in slices(chosen, lambda one: one.size):
        rows = database.rows(queries.CONTENT, seqs=json.dumps([one.seq for one in some]))
        kept |= {seq: row for seq, *row in rows}
    return kept


def _in_turn(queues: Collection[list[Candidate]], limit: int) -> list[Candidate]:
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)][:limit]


def _delivery(one: Candidate, row: Sequence[Any], number: int, until: int, consumer: str) -> Delivery:
    priority, deliveries, redelivered, properties, body = row
    return Delivery(
        message=message_of(properties, body, priority),
        queue=one.queue,
        token=Token(consumer, one.seq, number),
        delivery_count=deliveries,
        redelivered=bool(redelivered),
        lease_until=moment(until),
    )
