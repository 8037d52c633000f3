"""A log record as one JSON object, and the fields of the task that it belongs to."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from celeriac import current_task

TASK_FIELDS = ("task_id", "task", "attempt", "queue")
_NO_EXTRA = ("message", "asctime", "taskName", "task_name", "event", "task_fields")
_OF_EVERY_RECORD = {*vars(logging.makeLogRecord({})), *_NO_EXTRA}


class TaskFields(logging.Filter):
    """Stamps a record, on the thread that writes it, with what is known of its task: ``record.task_fields``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp; let everything through."""
        request = current_task()
        if request is not None:
            values = (request.id, request.task, request.attempt, request.queue)
            record.task_fields = dict(zip(TASK_FIELDS, values, strict=True))
        return True


class JsonFormatter(logging.Formatter):
    """One object a line: time (ISO 8601, UTC), level, logger, process, message, then what there is besides.

    - ``task_id``, ``task``, ``attempt`` and ``queue`` where a task logs, or the worker logs of one;
    - the fields of a worker's event: ``event``, ``why``, ``seconds``, ...;
    - what the caller gave as ``extra``;
    - ``traceback``.

    What JSON does not know is shown as text. A field of the caller's hides none of ours.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        extra = {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}
        extra.pop("task_id", None)  # stamped by the executor; it stands among the task's fields
        shown: dict[str, Any] = {
            **extra,
            **getattr(record, "event", {}),
            **getattr(record, "task_fields", {}),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            shown["traceback"] = self.formatException(record.exc_info)
        return json.dumps(_in_order(shown), default=str, ensure_ascii=False, skipkeys=True)


def _in_order(shown: dict[str, Any]) -> dict[str, Any]:
    """Return it with what people look for first in front."""
    first = ("time", "level", "logger", "message", *TASK_FIELDS)
    return {name: shown[name] for name in first if name in shown} | shown
