"""Results and groups."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from celeriac.results import ResultRecord
from celeriac.states import FINAL, PENDING
from celeriac_sqlite import queries
from celeriac_sqlite.database import micros, moment
from celeriac_sqlite.doorbell import RESULTS
from celeriac_sqlite.rows import joined, slices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.clock import Clock
    from celeriac_sqlite.database import Database

FINAL_KEPT = timedelta(days=1)
WAITING_KEPT = timedelta(days=30)  # of what has no final state: a task may be delayed, or its worker gone for good
PAGE = 5000  # rows read at once
SOME = 2  # old rows dropped for each new one, so that a backlog of them shrinks


@dataclass(frozen=True, slots=True)
class Put:
    """Store ``records``."""

    records: Sequence[ResultRecord]
    clock: Clock


@dataclass(frozen=True, slots=True)
class Get:
    """Read the records of ``ids``."""

    ids: Sequence[str]
    clock: Clock


@dataclass(frozen=True, slots=True)
class Join:
    """Add ``member`` to ``group``."""

    group: str
    member: str
    size: int
    clock: Clock


class Stands(NamedTuple):
    """What is stored of a task, as far as it decides what may be stored next."""

    attempt: int
    state: str

    def yields_to(self, record: ResultRecord) -> bool:
        """Return whether ``record`` may take its place; PENDING takes nobody's."""
        return record.state != PENDING and self.state not in FINAL and self.attempt <= record.attempt


def pending(ids: Sequence[str]) -> list[ResultRecord]:
    """Return what is stored of tasks that were sent."""
    return [ResultRecord(task_id=one, attempt=0, state=PENDING) for one in ids]


def put(database: Database, calls: Sequence[Put]) -> list[list[bool]]:
    """Store the records of all calls, but those that would overwrite a final state or a later attempt."""
    now = micros(calls[0].clock.now())
    ids = {record.task_id for call in calls for record in call.records}
    standing = {
        one: Stands(attempt, state)
        for one, attempt, state in database.rows(queries.STANDING, ids=json.dumps([*ids]), now=now)
    }
    accepted: dict[str, ResultRecord] = {}
    answers = []
    for call in calls:
        answer = []
        for record in call.records:
            known = standing.get(record.task_id)
            taken = known is None or known.yields_to(record)
            if taken:
                standing[record.task_id] = Stands(record.attempt, record.state)
                accepted[record.task_id] = record
            answer.append(taken)
        answers.append(answer)
    _write(database, [*accepted.values()], calls[0].clock)
    database.run(queries.PRUNE_RESULTS, now=now, limit=SOME * len(ids))
    return answers


def get(database: Database, call: Get) -> list[ResultRecord | None]:
    """Read records."""
    found: dict[str, ResultRecord] = {}
    now = micros(call.clock.now())
    sizes = database.rows(queries.RESULT_SIZES, ids=json.dumps([*call.ids]), now=now)
    for some in slices(sizes, lambda row: row[1]):
        for row in database.rows(queries.RESULTS, ids=json.dumps([one for one, _ in some])):
            found[row[0]] = _record(*row)
    return [found.get(one) for one in call.ids]


def finals_after(database: Database, after: int) -> tuple[int, list[str]]:
    """Return which tasks have come to a final state since the number ``after``, and the number to go on from."""
    rows = database.rows(queries.CHANGED_AFTER, after=after, limit=PAGE)
    last = max((number for number, _, _ in rows), default=after)
    return last, [one for _, one, state in rows if state in FINAL]


def forget(database: Database, calls: Sequence[Sequence[str]]) -> list[bool]:
    """Drop records."""
    database.run(queries.FORGET, ids=json.dumps([one for ids in calls for one in ids]))
    return [True] * len(calls)


def join(database: Database, calls: Sequence[Join]) -> list[bool]:
    """Add members; `True` for the one call that completes its group."""
    return [_join(database, call) for call in calls]


def _join(database: Database, call: Join) -> bool:
    now = call.clock.now()
    group, until = call.group, micros(now + WAITING_KEPT)
    (number,) = database.numbers(1)
    added = database.run(queries.ADD_MEMBER, number=number, group=group, member=call.member, until=until)
    database.run(queries.COUNT_MEMBER, group=group, added=added, until=until)
    database.run(queries.PRUNE_MEMBERS, now=micros(now), limit=SOME)
    database.run(queries.PRUNE_COUNTS, now=micros(now), limit=SOME)
    return bool(database.run(queries.COMPLETE, group=group, size=call.size))


def _write(database: Database, records: Sequence[ResultRecord], clock: Clock) -> None:
    for some in slices(records, lambda record: len(record.body)):
        bodies, places = joined(record.body for record in some)
        rows = [
            (n, record.task_id, record.attempt, record.state, _until(record, clock), _properties(record), *place)
            for n, record, place in zip(database.numbers(len(some)), some, places, strict=True)
        ]
        database.run(queries.PUT_RESULTS, rows=json.dumps(rows), bodies=bodies)
        database.rings.add(RESULTS)


def _until(record: ResultRecord, clock: Clock) -> int:
    kept = FINAL_KEPT if record.state in FINAL else WAITING_KEPT
    return micros(record.expires_at or clock.now() + kept)


def _properties(record: ResultRecord) -> str:
    return json.dumps(
        {
            "content_type": record.content_type,
            "content_encoding": record.content_encoding,
            "traceback": record.traceback,
            "reply_to": record.reply_to,
            "done_at": None if record.done_at is None else micros(record.done_at),
            "history": [dict(entry) for entry in record.history],
        },
        default=str,
    )


def _record(task_id: str, attempt: int, state: str, until: int, properties: str, body: str) -> ResultRecord:
    kept = json.loads(properties)
    done_at, history = kept.pop("done_at"), kept.pop("history", ())
    return ResultRecord(
        task_id=task_id,
        attempt=attempt,
        state=state,
        body=bytes.fromhex(body),
        expires_at=moment(until),
        done_at=None if done_at is None else moment(done_at),
        history=tuple(history),
        **kept,
    )
