"""Where messages go: routing, judging, and the parcels that become of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import Unroutable, Unsupported
from celeriac.message import CONFIRMED, Outcome, Receipt
from celeriac.topology import DEFAULT_EXCHANGE, Queue, Topology, dead_queue
from celeriac.transport_helpers import refuse_unsupported
from celeriac_nats.address import MAX_DELAY
from celeriac_nats.declaring import declare
from celeriac_nats.names import LATER, READY
from celeriac_nats.publishing import Parcel, of_all, send
from celeriac_nats.wire import Kept, dedup_id, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.clock import Clock
    from celeriac.message import Message, Requeue
    from celeriac_nats.catalog import Catalog
    from celeriac_nats.link import Link
    from celeriac_nats.window import Arrived


class Postmaster:
    """Addresses messages; what a stream is told and by which id it knows a second copy is decided here."""

    def __init__(self, link: Link, catalog: Catalog, clock: Clock) -> None:
        """Route by ``catalog``."""
        self.catalog = catalog
        self._link = link
        self._clock = clock

    async def publish(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        """Publish messages; all are judged before the first is written."""
        routed = [(message, await self._queues(message)) for message in messages]
        parcels = [[self._parcel(message, queue) for queue in queues] for message, queues in routed]
        answers = iter(await send(self._link, [parcel for each in parcels for parcel in each]))
        found = [[next(answers) for _ in each] for each in parcels]
        return [
            of_all(receipts) if receipts else self._unrouted(message)
            for message, receipts in zip(messages, found, strict=True)
        ]

    async def moved(self, arrived: Arrived, messages: Sequence[Message]) -> list[Parcel]:
        """Return the parcels of what replaces a delivery; should they be sent twice, the streams drop the second.

        Raises:
            Unroutable: no queue takes one of the messages.
        """
        parcels = []
        for number, message in enumerate(messages):
            queues = await self._queues(message)
            if not queues and not (receipt := self._unrouted(message)).ok:
                raise Unroutable(f"message {message.id!r} was not moved: {receipt}")
            parcels += [self._parcel(message, queue, arrived.origin, str(number)) for queue in queues]
        return parcels

    def returned(self, arrived: Arrived, requeue: Requeue) -> Parcel:
        """Return the parcel that gives a delivery back.

        A nak would be shorter. But JetStream counts what was nacked among what is in somebody's hands, and with it no
        one could say how many messages are ready.

        Raises:
            Unsupported: the delay is too long.
        """
        if requeue.delay > MAX_DELAY:
            raise Unsupported(f"queue {arrived.queue!r} delays by {MAX_DELAY} at most")
        due = self._clock.now() + requeue.delay if requeue.delay else None
        payload = Kept(unpack(arrived.payload).message, arrived.returns + 1, due).pack()
        subject = self._link.names.subject(arrived.queue, LATER if due else READY)
        return Parcel(subject, payload, dedup_id("returned", arrived.origin))

    async def make_dead_queue(self, queue: str) -> None:
        """Declare the queue for dead letters of ``queue``, unless it is there."""
        dead = dead_queue(self._declared(queue))
        if dead.name not in self.catalog.table.queues:
            await declare(self._link, self.catalog, Topology.of([dead]))

    async def _queues(self, message: Message) -> list[str]:
        """Return the names of the queues that ``message`` goes to, each judged fit for it."""
        queues = self.catalog.table.route(message.exchange, message.routing_key)
        if not queues:  # someone may have declared one a moment ago
            await self.catalog.catch_up()
            queues = self.catalog.table.route(message.exchange, message.routing_key)
        for name in queues:
            known = self._link.address.capabilities()
            now, most = self._clock.now(), known.priority_levels
            refuse_unsupported(message, self._declared(name), known, now, most_levels=most)
        return queues

    def _declared(self, name: str) -> Queue:
        return self.catalog.table.queues.get(name) or Queue(name)  # it may have been deleted a moment ago

    def _parcel(self, message: Message, queue: str, *origin: str) -> Parcel:
        due = message.not_before
        if due is not None and due <= self._clock.now():
            due = None
        payload = Kept(message, due=due).pack()
        subject = self._link.names.subject(queue, LATER if due else READY)
        return Parcel(subject, payload, dedup_id(*origin, subject, payload))

    def _unrouted(self, message: Message) -> Receipt:
        known = message.exchange == DEFAULT_EXCHANGE or message.exchange in self.catalog.table.exchanges
        if not known:
            return Receipt(Outcome.RETURNED, f"no exchange {message.exchange!r}")
        if message.mandatory:
            return Receipt(Outcome.RETURNED, f"no queue takes {message.routing_key!r} of {message.exchange!r}")
        return CONFIRMED
