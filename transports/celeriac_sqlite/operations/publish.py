"""Messages in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from celeriac.message import CONFIRMED, Outcome, Receipt
from celeriac.topology import DEFAULT_EXCHANGE
from celeriac.transport_helpers import refuse_unsupported
from celeriac_sqlite import queries
from celeriac_sqlite.address import DEFAULT_LEASE
from celeriac_sqlite.capabilities import capabilities
from celeriac_sqlite.database import micros
from celeriac_sqlite.doorbell import MESSAGES
from celeriac_sqlite.rows import joined, properties_of, slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.clock import Clock
    from celeriac.message import Message
    from celeriac_sqlite.catalog import KeptQueue
    from celeriac_sqlite.database import Database

READY, DELAYED = 0, 1


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and its properties, encoded where it was published."""

    message: Message
    properties: str

    @classmethod
    def of(cls, messages: Sequence[Message]) -> list[Outgoing]:
        """Return ``messages``, encoded."""
        return [cls(message, properties_of(message)) for message in messages]


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish ``messages``."""

    messages: Sequence[Outgoing]
    clock: Clock


class Row(NamedTuple):
    """A message at one queue, about to be written."""

    queue: int
    until: int | None
    outgoing: Outgoing

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.outgoing.properties) + len(self.outgoing.message.body)


def publish(database: Database, calls: Sequence[Publish]) -> list[Sequence[Receipt]]:
    """Store the messages of all calls.

    Raises:
        Unsupported: a priority or delay that a queue does not have.
    """
    answers: list[Sequence[Receipt]] = []
    rows: list[Row] = []
    for call in calls:
        receipts, routed = route(database, call.messages, call.clock)
        answers.append(receipts)
        rows += routed
    if calls:
        insert(database, rows, calls[0].clock)
    return answers


def check(database: Database, call: Publish) -> bool:
    """Refuse what a queue does not have, before the first part of a long call is written; `True` otherwise.

    Raises:
        Unsupported: a priority or delay that a queue does not have.
    """
    route(database, call.messages, call.clock)
    return True


def route(database: Database, messages: Sequence[Outgoing], clock: Clock) -> tuple[list[Receipt], list[Row]]:
    """Return what is to be answered and written; nothing is written yet."""
    receipts, rows = [], []
    for outgoing in messages:
        message = outgoing.message
        queues = database.catalog.route(message.exchange, message.routing_key)
        if queues:
            until = _due(message, queues, clock) if message.priority or message.not_before else None
            rows += [Row(kept.id, until, outgoing) for kept in queues]
            receipts.append(CONFIRMED)
        else:
            receipts.append(_unrouted(database, message))
    return receipts, rows


def insert(database: Database, rows: Sequence[Row], clock: Clock) -> None:
    """Write messages, in order."""
    now = micros(clock.now())
    for some in slices(rows, lambda row: row.size):
        numbers = database.numbers(len(some))
        bodies, places = joined(row.outgoing.message.body for row in some)
        encoded = json.dumps(
            [
                (
                    number,
                    row.queue,
                    READY if row.until is None else DELAYED,
                    row.outgoing.message.priority,
                    row.until,
                    row.outgoing.properties,
                    *place,
                )
                for number, row, place in zip(numbers, some, places, strict=True)
            ]
        )
        database.run(queries.ADD_ENTRIES, rows=encoded, now=now)
        database.run(queries.ADD_MESSAGES, rows=encoded, bodies=bodies)
        database.rings.add(MESSAGES)


def _due(message: Message, queues: Sequence[KeptQueue], clock: Clock) -> int | None:
    now = clock.now()
    for kept in queues:
        refuse_unsupported(message, kept.queue, capabilities(kept.queue, DEFAULT_LEASE), now)
    return micros(message.not_before) if message.not_before is not None and message.not_before > now else None


def _unrouted(database: Database, message: Message) -> Receipt:
    if message.exchange != DEFAULT_EXCHANGE and message.exchange not in database.catalog.table.exchanges:
        return Receipt(Outcome.RETURNED, f"exchange {message.exchange!r} does not exist")
    if message.mandatory:
        return Receipt(Outcome.RETURNED, f"no queue takes {message.routing_key!r} from exchange {message.exchange!r}")
    return CONFIRMED
