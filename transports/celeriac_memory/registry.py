"""The brokers of this process, by name. They outlive the transports that use them."""

from __future__ import annotations

import threading

from celeriac_memory.broker import Broker
from celeriac_memory.shelf import Shelf

_lock = threading.Lock()
_brokers: dict[str, Broker] = {}
_shelves: dict[str, Shelf] = {}


def broker_named(name: str) -> Broker:
    """Return the broker of that name, making it at the first call."""
    with _lock:
        return _brokers.setdefault(name, Broker())


def shelf_named(name: str) -> Shelf:
    """Return the results of that name, making them at the first call."""
    with _lock:
        return _shelves.setdefault(name, Shelf())


def forget(name: str) -> None:
    """Drop the broker and the results of that name, for tests; transports that are open keep theirs to themselves."""
    with _lock:
        _brokers.pop(name, None)
        _shelves.pop(name, None)
