"""What a stream of results is told of a task, and what may replace it."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from celeriac.results import ResultRecord
from celeriac.states import FINAL, PENDING
from celeriac.transport_helpers import dump_headers, load_headers

DEFAULT_EXPIRY = timedelta(days=1)
MOMENTS = ("expires_at", "done_at")


def pack(record: ResultRecord) -> bytes:
    """Return the payload."""
    values: dict[str, Any] = {field.name: getattr(record, field.name) for field in fields(record)}
    for name in MOMENTS:
        values[name] = values[name] and values[name].isoformat()
    return dump_headers(values).encode("ascii")


def unpack(payload: bytes) -> ResultRecord:
    """Return what was packed."""
    values = load_headers(payload.decode("ascii"))
    for name in MOMENTS:
        values[name] = values[name] and datetime.fromisoformat(values[name])
    return ResultRecord(**{**values, "history": tuple(values["history"])})


def pending(task_id: str) -> ResultRecord:
    """Return what stands for a task that was sent and of which nothing more is known."""
    return ResultRecord(task_id=task_id, attempt=0, state=PENDING)


def with_expiry(record: ResultRecord, now: datetime) -> ResultRecord:
    """Return ``record`` as it is kept: a final one that says nothing expires after a day."""
    if record.expires_at is None and record.state in FINAL:
        return replace(record, expires_at=now + DEFAULT_EXPIRY)
    return record


def stands_against(known: ResultRecord | None, record: ResultRecord) -> bool:
    """Return whether ``known`` may not be replaced by ``record``: it is final, or of a later attempt."""
    return known is not None and (known.state in FINAL or known.attempt > record.attempt)


def has_expired(record: ResultRecord, now: datetime) -> bool:
    """Return whether ``record`` is to be forgotten."""
    return record.expires_at is not None and record.expires_at <= now
