"""The log of a worker started by the command: one form for its own process and for those of its executors."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_OUTSIDE = "-"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What is logged, and how.

    Attributes:
        level: the least that is logged: ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``.
        as_json: one JSON object a line.
    """

    level: str = "WARNING"
    as_json: bool = False


def configure_logging(options: LogOptions) -> None:
    """Set the root logger's level, and give it a handler to standard error, named ``celeriac``, if it has none yet."""
    root = logging.getLogger()
    root.setLevel(options.level)
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.set_name("celeriac")
        handler.setFormatter(_JsonFormatter() if options.as_json else _TextFormatter())
        root.addHandler(handler)


class _TextFormatter(logging.Formatter):
    """``[2026-01-31 12:00:00,000: INFO/4711] text``, and inside a task its name and id before the text."""

    def __init__(self) -> None:
        super().__init__("[%(asctime)s: %(levelname)s/%(process)d] %(where)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        task_id, name = _task_of(record)
        record.where = "" if task_id is None else f"{name}[{task_id}]: "
        return super().format(record)


class _JsonFormatter(logging.Formatter):
    """One object: time, level, process, logger, message, the task it belongs to, and the fields of an event."""

    def format(self, record: logging.LogRecord) -> str:
        shown: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "process": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        task_id, name = _task_of(record)
        if task_id is not None:
            shown |= {"task_id": task_id, "task": name}
        if record.exc_info:
            shown["traceback"] = self.formatException(record.exc_info)
        shown |= getattr(record, "event", {})
        return json.dumps(shown, default=str, ensure_ascii=False)


def _task_of(record: logging.LogRecord) -> tuple[str | None, str]:
    """Return the id and the name that the executor stamped on the record."""
    task_id = getattr(record, "task_id", _OUTSIDE)
    return (None, "") if task_id == _OUTSIDE else (task_id, getattr(record, "task_name", ""))
