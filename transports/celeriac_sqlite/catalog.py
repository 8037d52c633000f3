"""What is declared in the file, remembered until its topology number rises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from celeriac.errors import QueueNotFound
from celeriac.topology import Binding, Exchange, Queue, Topology
from celeriac.transport_helpers import RoutingTable, load_headers
from celeriac_sqlite import queries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.topology import ExchangeType
    from celeriac_sqlite.database import Database

MOST_ROUTES = 10_000


@dataclass(frozen=True, slots=True)
class KeptQueue:
    """A queue and its number in the file."""

    id: int
    queue: Queue
    paused: bool


class Catalog:
    """Exchanges, queues and bindings, as one transaction sees them.

    Attributes:
        version: the topology number it was read at.
        table: routes messages.
        bindings: which queue is bound where.
    """

    UNREAD = -1

    def __init__(self, version: int = UNREAD) -> None:
        """Know nothing yet."""
        self.version = version
        self.table = RoutingTable()
        self.bindings: frozenset[Binding] = frozenset()
        self._queues: dict[str, KeptQueue] = {}
        self._routes: dict[tuple[str, str], list[KeptQueue]] = {}

    @classmethod
    def read(cls, database: Database, version: int) -> Catalog:
        """Read it from the file."""
        catalog = cls(version)
        for number, name, priorities, arguments, paused in database.rows(queries.QUEUES):
            queue = Queue(name, priorities=priorities, arguments=load_headers(arguments))
            catalog._queues[name] = KeptQueue(number, queue, bool(paused))
        catalog.bindings = frozenset(Binding(*row) for row in database.rows(queries.BINDINGS))
        catalog.table.add(
            Topology(
                exchanges=[Exchange(n, cast("ExchangeType", kind)) for n, kind in database.rows(queries.EXCHANGES)],
                queues=[kept.queue for kept in catalog._queues.values()],
                bindings=[*catalog.bindings],
            )
        )
        return catalog

    def queue(self, name: str) -> KeptQueue:
        """Return the queue named ``name``.

        Raises:
            QueueNotFound: there is none.
        """
        kept = self._queues.get(name)
        if kept is None:
            raise QueueNotFound(f"queue {name!r} does not exist")
        return kept

    def deliverable(self, names: Iterable[str]) -> dict[int, str]:
        """Return the names of those of the queues that exist and are not paused, by their numbers."""
        kept = (self._queues.get(name) for name in names)
        return {k.id: k.queue.name for k in kept if k is not None and not k.paused}

    def route(self, exchange: str, routing_key: str) -> list[KeptQueue]:
        """Return the queues that a message goes to."""
        found = self._routes.get((exchange, routing_key))
        if found is None:
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            found = [self._queues[name] for name in self.table.route(exchange, routing_key)]
            self._routes[exchange, routing_key] = found
        return found
