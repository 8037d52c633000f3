"""Whether a topology agrees with what exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import TopologyMismatch
from celeriac.topology import DEFAULT_EXCHANGE

if TYPE_CHECKING:
    from celeriac.topology import Queue, Topology
    from celeriac.transport_helpers import RoutingTable


def refuse_mismatch(topology: Topology, table: RoutingTable) -> None:
    """Raise where a queue or exchange exists otherwise than declared.

    Raises:
        TopologyMismatch: names the first one, and what differs.
    """
    for exchange in topology.exchanges:
        known = table.exchanges.get(exchange.name, exchange)
        if known.type != exchange.type:
            raise TopologyMismatch(f"exchange {exchange.name!r} is of type {known.type!r}, not {exchange.type!r}")
    for queue in topology.queues:
        differs = _difference(table.queues.get(queue.name, queue), queue)
        if differs:
            raise TopologyMismatch(f"queue {queue.name!r} exists with {differs}")


def missing(topology: Topology, table: RoutingTable) -> None:
    """Raise where a queue, an exchange or one end of a binding does not exist.

    Raises:
        TopologyMismatch: names the first one.
    """
    exchanges = {exchange.name for exchange in topology.exchanges} | {b.exchange for b in topology.bindings}
    queues = {queue.name for queue in topology.queues} | {b.queue for b in topology.bindings}
    for name in sorted(exchanges - table.exchanges.keys() - {DEFAULT_EXCHANGE}):
        raise TopologyMismatch(f"exchange {name!r} does not exist")
    for name in sorted(queues - table.queues.keys()):
        raise TopologyMismatch(f"queue {name!r} does not exist")


def _difference(known: Queue, wanted: Queue) -> str:
    if known.priorities != wanted.priorities:
        return f"priorities={known.priorities}, not {wanted.priorities}"
    for name in sorted({*known.arguments, *wanted.arguments}):
        if known.arguments.get(name) != wanted.arguments.get(name):
            return f"argument {name}={known.arguments.get(name)!r}, not {wanted.arguments.get(name)!r}"
    return ""
