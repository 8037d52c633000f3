"""Where a task's message goes: a call's own words, then the task's, then the App's routes, then the default queue."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate

from celeriac.errors import ConfigurationError
from celeriac.topology import DEFAULT_EXCHANGE, Exchange, Queue


@dataclass(frozen=True, slots=True)
class Route:
    """An exchange and a key to publish with."""

    exchange: str | Exchange
    routing_key: str = ""


Target = Queue | Route | str
Routes = Mapping[str | re.Pattern[str], Target] | Callable[[str], Target | None]


@dataclass(frozen=True, slots=True)
class Address:
    """Where to publish; ``queue`` names the queue to be declared first, if it is known."""

    exchange: str
    routing_key: str
    queue: str | None = None


class Router:
    """The App's routes, with what was found kept by task name."""

    def __init__(self, routes: Routes | None, default: Queue) -> None:
        """Compile ``routes``.

        Args:
            routes: task name, glob or compiled pattern to a `Queue`, a queue's name or a `Route`, tried in order;
                or a function of the task's name, ``None`` meaning the default.
            default: where everything else goes.

        Raises:
            ConfigurationError: a target that is none of these.
        """
        self.default = Address(DEFAULT_EXCHANGE, default.name, default.name)
        self._function = routes if callable(routes) else None
        self._rules: list[tuple[re.Pattern[str], Target]] = []
        self._known: dict[str, Address] = {}
        if isinstance(routes, Mapping):
            for pattern, target in routes.items():
                compiled = pattern if isinstance(pattern, re.Pattern) else re.compile(translate(pattern))
                _address(target)
                self._rules.append((compiled, target))

    def route(self, task: str) -> Address:
        """Return where ``task`` goes."""
        known = self._known.get(task)
        if known is None:
            known = self._known[task] = self._route(task)
        return known

    def _route(self, task: str) -> Address:
        if self._function is not None:
            target = self._function(task)
            return self.default if target is None else _address(target)
        for pattern, target in self._rules:
            if pattern.fullmatch(task):
                return _address(target)
        return self.default


def targets_of(routes: Routes | None) -> list[Target]:
    """Return where ``routes`` lead, as far as they say so beforehand.

    Raises:
        ConfigurationError: a target that is no `Queue`, queue's name or `Route`.
    """
    targets = list(routes.values()) if isinstance(routes, Mapping) else []
    for target in targets:
        _address(target)
    return targets


def to_queue(name: str) -> Address:
    """Return the address of a queue by its name."""
    return Address(DEFAULT_EXCHANGE, name, name)


def queues_of(routes: Routes | None) -> list[Queue]:
    """Return the queues that ``routes`` describe, for declaring."""
    targets = routes.values() if isinstance(routes, Mapping) else ()
    return [target for target in targets if isinstance(target, Queue)]


def by_name(queues: Sequence[Queue]) -> dict[str, Queue]:
    """Return ``queues`` by their names.

    Raises:
        ConfigurationError: one is declared twice, in different ways.
    """
    named: dict[str, Queue] = {}
    for queue in queues:
        if named.setdefault(queue.name, queue) != queue:
            raise ConfigurationError(f"queue {queue.name!r} is declared twice, in different ways; keep one of them")
    return named


def _address(target: Target) -> Address:
    if isinstance(target, str):
        return to_queue(target)
    if isinstance(target, Queue):
        return to_queue(target.name)
    if isinstance(target, Route):
        exchange = target.exchange.name if isinstance(target.exchange, Exchange) else target.exchange
        return Address(exchange, target.routing_key)
    raise ConfigurationError(f"a route leads to {target!r}; give a Queue, a queue's name or a Route")
