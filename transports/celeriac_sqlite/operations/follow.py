"""Signals and revocations: rows with rising numbers, read on from the last one seen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac_sqlite import queries
from celeriac_sqlite.database import MICROSECOND, micros
from celeriac_sqlite.doorbell import REVOCATIONS, SIGNALS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from celeriac.clock import Clock
    from celeriac_sqlite.database import Database

SIGNAL_KEPT = timedelta(minutes=1) // MICROSECOND
PAGE = 5000  # rows read at once
SOME = 20  # old rows dropped for each new one, so that a backlog of them shrinks


@dataclass(frozen=True, slots=True)
class Signal:
    """Tell the listeners of ``topic``."""

    topic: str
    body: bytes
    clock: Clock


@dataclass(frozen=True, slots=True)
class Revoke:
    """Remember ``ids`` until ``until``."""

    ids: Sequence[str]
    until: datetime
    clock: Clock


@dataclass(frozen=True, slots=True)
class After:
    """Read on: what has a number above ``after``; of ``topic``, for signals."""

    after: int
    clock: Clock
    topic: str = ""


def mark(database: Database, _call: None) -> int:
    """Return the last number given out: what comes later has a higher one."""
    return database.last_number


def signal(database: Database, calls: Sequence[Signal]) -> list[bool]:
    """Write signals, for a minute."""
    for call, number in zip(calls, database.numbers(len(calls)), strict=True):
        now = micros(call.clock.now())
        database.run(queries.PRUNE_SIGNALS, now=now, limit=SOME)
        database.run(queries.ADD_SIGNALS, number=number, topic=call.topic, body=call.body, until=now + SIGNAL_KEPT)
    database.rings.add(SIGNALS)
    return [True] * len(calls)


def signals_after(database: Database, call: After) -> list[tuple[int, bytes]]:
    """Return the next signals, with their numbers."""
    rows = database.rows(queries.SIGNALS_AFTER, after=call.after, topic=call.topic, limit=PAGE)
    return sorted((number, bytes.fromhex(body)) for number, body in rows)


def revoke(database: Database, calls: Sequence[Revoke]) -> list[bool]:
    """Write revocations; of two for one id the longer holds."""
    for call in calls:
        known = dict(database.rows(queries.REVOKED_UNTIL, ids=json.dumps([*call.ids])))
        until = micros(call.until)
        ids = dict.fromkeys(call.ids)
        rows = [(n, one, max(until, known.get(one, 0))) for n, one in zip(database.numbers(len(ids)), ids, strict=True)]
        database.run(queries.ADD_REVOKED, rows=json.dumps(rows))
        database.run(queries.PRUNE_REVOKED, now=micros(call.clock.now()), limit=SOME * len(ids))
    database.rings.add(REVOCATIONS)
    return [True] * len(calls)


def revoked_after(database: Database, call: After) -> list[tuple[int, str]]:
    """Return the next revocations that still hold, with their numbers."""
    rows = database.rows(queries.REVOKED_AFTER, after=call.after, now=micros(call.clock.now()), limit=PAGE)
    return sorted((number, one) for number, one in rows)
