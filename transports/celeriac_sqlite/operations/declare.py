"""Exchanges, queues and bindings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import TopologyMismatch
from celeriac.topology import Topology
from celeriac.transport_helpers import dump_headers, first_missing, refuse_mismatch
from celeriac_sqlite import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.topology import Queue
    from celeriac_sqlite.database import Database


def declare(database: Database, calls: Sequence[Topology]) -> list[bool]:
    """Make what is missing.

    Raises:
        TopologyMismatch: names what exists otherwise, or what a binding misses.
    """
    for topology in calls:
        _declare(database, topology)
    return [True] * len(calls)


def declared(database: Database, topology: Topology) -> bool | None:
    """Return `True` if nothing is to be made, ``None`` if something is.

    Raises:
        TopologyMismatch: names what exists otherwise and, in passive mode, what is missing.
    """
    table = database.catalog.table
    refuse_mismatch(topology, table)
    missing = first_missing(topology, table)
    if missing and topology.mode == "passive":
        raise TopologyMismatch(f"{missing} does not exist")
    unbound = set(topology.bindings) - database.catalog.bindings
    if unbound and topology.mode == "passive":
        one = min(unbound, key=repr)
        raise TopologyMismatch(f"queue {one.queue!r} is not bound to exchange {one.exchange!r} by {one.routing_key!r}")
    return None if missing or unbound else True


def ensure_queue(database: Database, queue: Queue) -> None:
    """Make ``queue`` with its own exchange and binding, unless there is a queue of its name."""
    if queue.name not in database.catalog.table.queues:
        _declare(database, Topology.of([queue]))


def _declare(database: Database, topology: Topology) -> None:
    table = database.catalog.table
    refuse_mismatch(topology, table)
    for exchange in topology.exchanges:
        if exchange.name not in table.exchanges:
            database.run(queries.ADD_EXCHANGE, name=exchange.name, type=exchange.type)
    for queue in topology.queues:
        if queue.name not in table.queues:
            database.run(
                queries.ADD_QUEUE,
                id=database.numbers(1)[0],
                name=queue.name,
                priorities=queue.priorities,
                arguments=dump_headers(queue.arguments),
            )
    for binding in topology.bindings:
        database.run(
            queries.ADD_BINDING, exchange=binding.exchange, queue=binding.queue, routing_key=binding.routing_key
        )
    database.topology_changed()
    missing = first_missing(topology, database.catalog.table)
    if missing:
        raise TopologyMismatch(f"{missing} is to be bound and does not exist")
