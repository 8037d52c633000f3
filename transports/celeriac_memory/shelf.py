"""Results of one name: a synchronous state machine behind one lock. The time comes in as an argument."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from celeriac.results import ResultRecord
from celeriac.states import FINAL, PENDING
from celeriac_memory.guarded import Guarded, locked, locked_or_late

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

DEFAULT_EXPIRY = timedelta(days=1)


@dataclass(slots=True)
class _Group:
    members: set[str] = field(default_factory=set)
    complete: bool = False


class Shelf(Guarded):
    """The records and groups of one name, and who waits for them."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self._records: dict[str, ResultRecord] = {}
        self._expiries: list[tuple[datetime, str]] = []  # a heap; an entry whose record has changed is passed over
        self._groups: dict[str, _Group] = {}
        self._complete: deque[tuple[datetime, str]] = deque()  # when a group is forgotten, and its name
        self._watchers: dict[str, list[Callable[[ResultRecord], None]]] = {}

    @locked
    def sent(self, ids: Iterable[str]) -> None:
        """Write PENDING for each id that has no record."""
        for task_id in ids:
            self._records.setdefault(task_id, ResultRecord(task_id=task_id, attempt=0, state=PENDING))

    @locked
    def put(self, records: Sequence[ResultRecord], now: datetime) -> list[bool]:
        """Store each record that is not refused by what stands, and tell the watchers."""
        self._expire(now)
        return [self._put(record, now) for record in records]

    def _put(self, record: ResultRecord, now: datetime) -> bool:
        known = self._records.get(record.task_id)
        if known is not None and (known.state in FINAL or known.attempt > record.attempt):
            return False
        if record.expires_at is None and record.state in FINAL:
            record = replace(record, expires_at=now + DEFAULT_EXPIRY)
        self._records[record.task_id] = record
        if record.expires_at is not None:
            heapq.heappush(self._expiries, (record.expires_at, record.task_id))
        if record.state in FINAL:
            for watcher in self._watchers.get(record.task_id, ()):
                watcher(record)
        return True

    @locked
    def get(self, ids: Iterable[str], now: datetime) -> list[ResultRecord | None]:
        """Return what stands for each id."""
        self._expire(now)
        return [self._records.get(task_id) for task_id in ids]

    @locked
    def watch(self, watcher: Callable[[ResultRecord], None], ids: Iterable[str], now: datetime) -> None:
        """Call ``watcher`` with the final records of ``ids`` that stand, and with every later one; it must not wait."""
        self._expire(now)
        for task_id in ids:
            self._watchers.setdefault(task_id, []).append(watcher)
            known = self._records.get(task_id)
            if known is not None and known.state in FINAL:
                watcher(known)

    @locked_or_late
    def unwatch(self, watcher: Callable[[ResultRecord], None], ids: Iterable[str]) -> None:
        """Stop calling."""
        for task_id in ids:
            self._watchers[task_id].remove(watcher)
            if not self._watchers[task_id]:
                del self._watchers[task_id]

    @locked
    def forget(self, ids: Iterable[str]) -> None:
        """Drop records."""
        for task_id in ids:
            self._records.pop(task_id, None)

    @locked
    def join(self, group: str, member: str, size: int, now: datetime) -> bool:
        """Add ``member`` to ``group``; ``True`` for the one call that completes it."""
        self._expire(now)
        joined = self._groups.setdefault(group, _Group())
        joined.members.add(member)
        if joined.complete or len(joined.members) < size:
            return False
        joined.complete = True
        self._complete.append((now + DEFAULT_EXPIRY, group))
        return True

    def _expire(self, now: datetime) -> None:
        while self._expiries and self._expiries[0][0] <= now:
            moment, task_id = heapq.heappop(self._expiries)
            known = self._records.get(task_id)
            if known is not None and known.expires_at == moment:
                del self._records[task_id]
        while self._complete and self._complete[0][0] <= now:
            del self._groups[self._complete.popleft()[1]]
