"""How the tasks of a child publish: through their worker, whose connection and confirms they share."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from celeriac.worker.executors import outbox as tags
from celeriac.worker.executors import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.message import Message, Receipt
    from celeriac.worker.executors.outbox import Outbox


class Link:
    """Stands for the broker in a child. Its methods may be called from any thread and any loop."""

    def __init__(self, outbox: Outbox) -> None:
        """Publish through ``outbox``."""
        self._outbox = outbox
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Sequence[Receipt]]] = {}
        self._lock = threading.Lock()

    def publish(self, messages: Sequence[Message]) -> Future[Sequence[Receipt]]:
        """Have messages published; the future has one receipt each, in order, once the broker has answered for all.

        It has an error instead (as the worker's transport raised it) where nothing was written.
        """
        number = next(self._numbers)
        future: Future[Sequence[Receipt]] = Future()
        with self._lock:
            self._waiting[number] = future
        self._outbox.send((tags.PUBLISH, number, wire.messages_to_wire(messages)))
        return future

    def answered(self, number: int, receipts: Sequence[tuple[str, str]]) -> None:
        """Pass on the receipts that the worker sent."""
        future = self._taken(number)
        if future is not None:
            future.set_result(wire.receipts_from_wire(receipts))

    def refused(self, number: int, name: str, text: str) -> None:
        """Pass on the error that the worker's transport raised."""
        future = self._taken(number)
        if future is not None:
            future.set_exception(wire.error_from_wire(name, text))

    def _taken(self, number: int) -> Future[Sequence[Receipt]] | None:
        """Return the future that waits, now running, so that it can no longer be cancelled."""
        with self._lock:
            future = self._waiting.pop(number)
        return future if future.set_running_or_notify_cancel() else None
