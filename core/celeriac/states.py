"""The states of a task, by Celery's names.

`RECEIVED` is told by an event and never stored. `STARTED` is stored where ``track_started`` says so, `PROGRESS` where
the task tells of it. `UNKNOWN` is ours: the store would know the id, and does not.
"""

from __future__ import annotations

PENDING = "PENDING"
RECEIVED = "RECEIVED"
STARTED = "STARTED"
PROGRESS = "PROGRESS"
RETRY = "RETRY"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
UNKNOWN = "UNKNOWN"

FINAL = frozenset({SUCCESS, FAILURE, REVOKED})
