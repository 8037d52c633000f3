"""One line a task in a worker's log, in the words that Celery's users know."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from celeriac.events import Finished, Received, Refused, TaskEvent, Unsuccessful
from celeriac.worker.verdict import NOT_KNOWN_HERE, TOO_EARLY

if TYPE_CHECKING:
    from celeriac.worker.observers import Observers

logger = logging.getLogger("celeriac.task")

MOST_NAMES = 1000

# what is no error: as the task wished, nobody's fault, to be tried again, or not known to be this task's doing
_QUIET = {
    "ignored": logging.INFO,
    "snoozed": logging.INFO,
    "given back": logging.INFO,
    "interrupted": logging.INFO,
    "revoked": logging.INFO,
    "retry": logging.WARNING,
    "accused": logging.WARNING,
}


def observe(observers: Observers) -> None:
    """Log what the log's level lets through; ask for no event besides, since making one costs time."""
    log = TaskLog()
    if logger.isEnabledFor(logging.INFO):
        observers.add(log, Received, Refused, Finished)
    elif logger.isEnabledFor(logging.WARNING):
        observers.add(log, Refused, Unsuccessful)
    elif logger.isEnabledFor(logging.ERROR):
        observers.add(log, Unsuccessful)


class TaskLog:
    """An observer that logs; of tasks that are left for another worker, each name once."""

    def __init__(self) -> None:
        """Have logged nothing."""
        self._unknown: set[str] = set()

    def __call__(self, event: TaskEvent) -> None:
        """Log one event."""
        task = f"Task {event.task}[{event.task_id}]"
        match event:
            case Received():
                attempt = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                _say(logging.INFO, f"{task} received{attempt}", event)
            case Refused():
                usual = logging.INFO if event.why == TOO_EARLY else logging.WARNING
                _say(self._level(event, usual), f"{task} refused, {event.why}: {event.detail}", event)
            case Unsuccessful():
                trace = f"\n{event.traceback.rstrip()}" if event.traceback else ""
                text = f"{task} {event.why}{_in(event)}: {event.shown}{trace}"
                _say(self._level(event, _QUIET.get(event.why, logging.ERROR)), text, event)
            case Finished():
                _say(logging.INFO, f"{task} {event.why}{_in(event)}: {event.shown}", event)

    def _level(self, event: Refused | Unsuccessful, usual: int) -> int:
        """In a rolling deploy thousands of tasks of the next release may pass by, each again and again."""
        if event.why != NOT_KNOWN_HERE:
            return usual
        known = event.task in self._unknown
        if len(self._unknown) < MOST_NAMES:
            self._unknown.add(event.task)
        return logging.DEBUG if known else logging.WARNING


def _in(event: Finished) -> str:
    return "" if event.seconds is None else f" in {event.seconds:.3g}s"


def _say(level: int, text: str, event: TaskEvent) -> None:
    fields: dict[str, Any] = {"event": type(event).__name__.lower(), **asdict(event)}
    logger.log(level, "%s", text, extra={"event": fields})
