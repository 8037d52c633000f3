"""Results of one name: a synchronous state machine behind one lock. The time comes in as an argument."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from celeriac.results import ResultRecord
from celeriac.states import FINAL, PENDING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

DEFAULT_EXPIRY = timedelta(days=1)


@dataclass(slots=True)
class _Group:
    members: set[str] = field(default_factory=set)
    forget_at: datetime | None = None  # known once it is complete


class Shelf:
    """The records and groups of one name, and who waits for them."""

    def __init__(self) -> None:
        """Start empty."""
        self._lock = threading.Lock()
        self._records: dict[str, ResultRecord] = {}
        self._groups: dict[str, _Group] = {}
        self._watchers: list[Callable[[ResultRecord], None]] = []

    def sent(self, ids: Iterable[str]) -> None:
        """Write PENDING for each id that has no record."""
        with self._lock:
            for task_id in ids:
                self._records.setdefault(task_id, ResultRecord(task_id=task_id, attempt=0, state=PENDING))

    def put(self, records: Sequence[ResultRecord], now: datetime) -> list[bool]:
        """Store each record that is not refused by what stands, and tell the watchers."""
        with self._lock:
            self._expire(now)
            return [self._put(record, now) for record in records]

    def _put(self, record: ResultRecord, now: datetime) -> bool:
        known = self._records.get(record.task_id)
        if known is not None and (known.state in FINAL or known.attempt > record.attempt):
            return False
        if record.expires_at is None and record.state in FINAL:
            record = replace(record, expires_at=now + DEFAULT_EXPIRY)
        self._records[record.task_id] = record
        if record.state in FINAL:
            for watcher in self._watchers:
                watcher(record)
        return True

    def get(self, ids: Iterable[str], now: datetime) -> list[ResultRecord | None]:
        """Return what stands for each id."""
        with self._lock:
            self._expire(now)
            return [self._records.get(task_id) for task_id in ids]

    def watch(self, watcher: Callable[[ResultRecord], None], ids: Iterable[str], now: datetime) -> None:
        """Call ``watcher`` with the final records of ``ids`` that stand, and with every later one; it must not wait."""
        with self._lock:
            self._expire(now)
            for task_id in ids:
                known = self._records.get(task_id)
                if known is not None and known.state in FINAL:
                    watcher(known)
            self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[ResultRecord], None]) -> None:
        """Stop calling."""
        with self._lock:
            self._watchers.remove(watcher)

    def forget(self, ids: Iterable[str]) -> None:
        """Drop records."""
        with self._lock:
            for task_id in ids:
                self._records.pop(task_id, None)

    def join(self, group: str, member: str, size: int, now: datetime) -> bool:
        """Add ``member`` to ``group``; ``True`` for the one call that completes it."""
        with self._lock:
            self._expire(now)
            joined = self._groups.setdefault(group, _Group())
            joined.members.add(member)
            if joined.forget_at is not None or len(joined.members) < size:
                return False
            joined.forget_at = now + DEFAULT_EXPIRY
            return True

    def _expire(self, now: datetime) -> None:
        for task_id in [r.task_id for r in self._records.values() if r.expires_at is not None and r.expires_at <= now]:
            del self._records[task_id]
        for name in [name for name, g in self._groups.items() if g.forget_at is not None and g.forget_at <= now]:
            del self._groups[name]
