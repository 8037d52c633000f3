"""What becomes of deliveries. A settlement is fenced: it changes nothing unless the claim it names still holds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from celeriac.errors import PublishError, Unroutable
from celeriac.message import SettleReceipt
from celeriac.topology import dead_queue
from celeriac_sqlite import queries
from celeriac_sqlite.database import MICROSECOND, micros
from celeriac_sqlite.doorbell import MESSAGES
from celeriac_sqlite.operations.declare import ensure_queue
from celeriac_sqlite.operations.publish import Row, insert, route

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from celeriac.clock import Clock
    from celeriac.errors import TransportError
    from celeriac_sqlite.database import Database
    from celeriac_sqlite.operations.claim import Token
    from celeriac_sqlite.operations.publish import Outgoing

Held = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Settle:
    """Settle deliveries of one consumer.

    Attributes:
        tokens: in the order in which they are to be answered.
        delays: microseconds, of those that are given back.
        moves: what is published in the place of those that go elsewhere.
        dead: the queues whose dead-letter queues are wanted.
    """

    tokens: Sequence[Token]
    clock: Clock
    delays: dict[Token, int] = field(default_factory=dict)
    moves: dict[Token, Sequence[Outgoing]] = field(default_factory=dict)
    dead: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Extend:
    """Renew the leases of ``tokens``."""

    tokens: Sequence[Token]
    lease: timedelta
    clock: Clock


def settle(database: Database, calls: Sequence[Settle]) -> list[Sequence[SettleReceipt] | TransportError]:
    """Settle all calls; one of which a message cannot be published is answered by its error, and writes nothing."""
    ours = _ours(database, [token for call in calls for token in call.tokens])
    answers: list[Sequence[SettleReceipt] | TransportError] = []
    gone: list[int] = []
    back: list[tuple[int, int, int]] = []
    rows: list[Row] = []
    for call in calls:
        try:
            rows += _moved(database, call, ours)
        except PublishError as error:
            answers.append(error)
            continue
        held = [token for token in call.tokens if (token.seq, token.claim) in ours]
        gone += [token.seq for token in held if token not in call.delays]
        back += [(token.seq, token.claim, call.delays[token]) for token in held if token in call.delays]
        answers.append([_receipt(token, ours) for token in call.tokens])
    if gone:
        database.run(queries.DROP_ENTRIES, seqs=json.dumps(gone))
    if back:
        database.run(queries.GIVE_BACK, held=json.dumps(back), now=micros(calls[0].clock.now()))
        database.rings.add(MESSAGES)
    insert(database, rows, calls[0].clock)
    return answers


def extend(database: Database, calls: Sequence[Extend]) -> list[Sequence[bool]]:
    """Renew leases; say of each whether it still held."""
    ours = _ours(database, [token for call in calls for token in call.tokens])
    for call in calls:
        seqs = [token.seq for token in call.tokens if (token.seq, token.claim) in ours]
        database.run(queries.EXTEND, seqs=json.dumps(seqs), until=micros(call.clock.now() + call.lease))
    return [[(token.seq, token.claim) in ours for token in call.tokens] for call in calls]


def delay_of(delay: timedelta) -> int:
    """Return a delay in microseconds, never negative."""
    return max(0, delay // MICROSECOND)


def _ours(database: Database, tokens: Sequence[Token]) -> set[Held]:
    held = json.dumps([(token.seq, token.claim) for token in tokens])
    return {(seq, claim) for seq, claim in database.rows(queries.OURS, held=held)}


def _moved(database: Database, call: Settle, ours: set[Held]) -> list[Row]:
    for name in sorted(call.dead):
        ensure_queue(database, dead_queue(database.catalog.queue(name).queue))
    rows: list[Row] = []
    for token, messages in call.moves.items():
        if (token.seq, token.claim) in ours:
            receipts, routed = route(database, messages, call.clock)
            refused = next((receipt for receipt in receipts if not receipt.ok), None)
            if refused is not None:
                raise Unroutable(refused.detail)
            rows += routed
    return rows


def _receipt(token: Token, ours: set[Held]) -> SettleReceipt:
    return SettleReceipt.DONE if (token.seq, token.claim) in ours else SettleReceipt.LOST
