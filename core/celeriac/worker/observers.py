"""Who is told of the worker's events."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from celeriac.events import TaskEvent

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("celeriac.worker")


class Observers:
    """Observers by the kind of event they asked for: an event that nobody asked for need not even be made."""

    def __init__(self) -> None:
        """Start with none."""
        self._told: dict[type[TaskEvent], list[Callable[[TaskEvent], object]]] = {}

    def add(self, observer: Callable[[TaskEvent], object], *kinds: type[TaskEvent]) -> None:
        """Tell ``observer`` of events of these ``kinds`` and their subclasses; of every event, if none is named."""
        for kind in _subclasses(kinds or (TaskEvent,)):
            self._told.setdefault(kind, []).append(observer)

    def want(self, kind: type[TaskEvent]) -> bool:
        """Return whether anyone asked for events of ``kind``."""
        return kind in self._told

    def tell(self, event: TaskEvent) -> None:
        """Tell who asked; one that raises is logged, never heeded."""
        for observer in self._told.get(type(event), ()):
            try:
                observer(event)
            except Exception:
                logger.exception("an observer failed on %s", event)


def _subclasses(kinds: tuple[type[TaskEvent], ...]) -> set[type[TaskEvent]]:
    found = set(kinds)
    for kind in kinds:
        found |= _subclasses(tuple(kind.__subclasses__()))
    return found
