"""Making what a topology says, or looking whether it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

from celeriac.errors import TopologyMismatch
from celeriac.transport_helpers import first_missing, refuse_mismatch
from celeriac_nats.names import LATER, READY

if TYPE_CHECKING:
    from celeriac.topology import Topology
    from celeriac_nats.catalog import Catalog
    from celeriac_nats.link import Link

DUPLICATE_WINDOW = 30.0  # seconds in which a stream knows a second copy; a publisher tries again for 5
GRACE = 0.5  # seconds by which the server's lease is longer than the one we count on
UNLIMITED = -1


async def declare(link: Link, catalog: Catalog, topology: Topology) -> None:
    """Make ``topology`` exist, or check it, as its mode says.

    Raises:
        TopologyMismatch: names the queue or exchange, and what differs or is missing.
    """
    if topology.mode == "never":
        return
    await catalog.catch_up()
    _refuse(link, catalog, topology)
    if topology.mode == "passive":
        if missing := first_missing(topology, catalog.table):
            raise TopologyMismatch(f"{missing} does not exist")
        return
    for queue in topology.queues:
        await _make_stream(link, queue.name)
    await catalog.add(topology, link.address.lease.total_seconds())
    _refuse(link, catalog, topology)  # another process may have been first, with another one of that name
    if missing := first_missing(topology, catalog.table):
        raise TopologyMismatch(f"{missing} is to be bound and does not exist")


def _refuse(link: Link, catalog: Catalog, topology: Topology) -> None:
    refuse_mismatch(topology, catalog.table)
    wanted = link.address.lease.total_seconds()
    for queue in topology.queues:
        if queue.name in catalog.table.queues and (kept := catalog.lease(queue.name)) != wanted:
            raise TopologyMismatch(
                f"queue {queue.name!r} was declared with a lease of {kept:g} s, not {wanted:g}: "
                "give the same ?lease= in every URL, or delete the queue"
            )


async def _make_stream(link: Link, queue: str) -> None:
    """Make the stream and its two durable consumers; the server does nothing where they are as they should be."""
    names, name = link.names, link.names.stream(queue)
    stream = StreamConfig(
        name=name,
        subjects=[names.subject(queue, READY), names.subject(queue, LATER)],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        num_replicas=link.address.replicas,
        duplicate_window=DUPLICATE_WINDOW,
    )
    await link.ask(link.js.add_stream(stream), f"cannot make the stream of queue {queue!r}")
    for lane in (READY, LATER):
        consumer = ConsumerConfig(
            durable_name=lane,
            filter_subject=names.subject(queue, lane),
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=link.address.lease.total_seconds() + GRACE,
            max_ack_pending=UNLIMITED,
            max_deliver=UNLIMITED,
        )
        await link.ask(link.js.add_consumer(name, consumer), f"cannot make a consumer of queue {queue!r}")
