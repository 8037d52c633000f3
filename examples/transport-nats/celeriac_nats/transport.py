"""The transport port on NATS JetStream."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, TransportError
from celeriac.transport import Transport
from celeriac_nats import telling
from celeriac_nats.address import parse
from celeriac_nats.catalog import Catalog
from celeriac_nats.consumer import NatsConsumer
from celeriac_nats.declaring import declare
from celeriac_nats.link import Link
from celeriac_nats.posting import Postmaster
from celeriac_nats.tending import Tender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from celeriac.clock import Clock
    from celeriac.message import Message, Receipt
    from celeriac.topology import Queue, Topology
    from celeriac.transport import Capabilities, Consumer, Depth, Revocations


FAREWELL = 5.0  # seconds to give back what is held


class Office:
    """All that hangs on one connection, and ends with it."""

    def __init__(self, link: Link, clock: Clock) -> None:
        """Nothing is connected yet."""
        self.link = link
        self.catalog = Catalog(link)
        self.post = Postmaster(link, self.catalog, clock)
        self.tender = Tender(link)
        self.consumers: list[NatsConsumer] = []

    async def open(self) -> None:
        """Connect, and read what is declared."""
        await self.link.connect()
        try:
            await self.catalog.open()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Give back what is held, and disconnect; never raises."""
        with suppress(TransportError, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                for consumer in self.consumers:
                    await consumer.leave()
        await self.clear()

    async def clear(self) -> None:
        """End what runs, whatever state the connection is in; never raises."""
        await self.catalog.close()
        await self.link.close()


class NatsTransport(Transport):
    """One namespace of one NATS cluster; see `celeriac_nats.address.parse` for its URL."""

    contract = 1

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: Clock,
        on_lost: Callable[[TransportError], None],
    ) -> None:
        """Keep the addresses."""
        super().__init__(urls, clock=clock, on_lost=on_lost)
        self._address = parse(self.urls)
        self._office: Office | None = None
        self._clearing: set[asyncio.Task[None]] = set()

    def capabilities(self, queue: Queue) -> Capabilities:
        """Return what holds for every queue."""
        del queue
        return self._address.capabilities()

    async def open(self) -> None:
        """Connect, and read what is declared."""
        if self._office is None:
            office = Office(Link(self._address, self._lost), self.clock)
            await office.open()
            self._office = office

    async def close(self) -> None:
        """Give back what our consumers hold, and disconnect."""
        office, self._office = self._office, None
        if office is not None:
            await office.close()
        await asyncio.gather(*self._clearing)

    async def declare(self, topology: Topology) -> None:
        """Make ``topology`` exist, or check it."""
        office = self._opened()
        await declare(office.link, office.catalog, topology)

    async def publish(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        """Publish each message to the stream of every queue that it is routed to."""
        return await self._opened().post.publish(messages)

    @asynccontextmanager
    async def consume(self, queues: Sequence[str], *, prefetch: int) -> AsyncIterator[Consumer]:
        """Open a window on ``queues``."""
        office = self._opened()
        for name in queues:
            await office.tender.exists(name)
        if not set(queues) <= office.catalog.table.queues.keys():
            await office.catalog.catch_up()
        consumer = NatsConsumer(office.link, office.post, queues, prefetch, self.clock)
        office.consumers.append(consumer)
        try:
            yield consumer
        finally:
            office.consumers.remove(consumer)
            await consumer.leave()

    async def signal(self, topic: str, body: bytes) -> None:
        """Tell every listener of ``topic``."""
        await telling.signal(self._opened().link, topic, body)

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Hear what is signalled from now on."""
        async with telling.listen(self._opened().link, topic) as heard:
            yield heard

    async def depth(self, queue: str) -> Depth:
        """Say how full ``queue`` is."""
        office = self._opened()
        return await office.tender.depth(queue, self.clock.now(), paused=queue in office.catalog.paused)

    async def purge(self, queue: str) -> int:
        """Drop what is ready or delayed."""
        return await self._opened().tender.purge(queue)

    async def delete(self, queue: str) -> None:
        """Delete ``queue`` and all in it."""
        office = self._opened()
        await office.catalog.catch_up()
        await office.catalog.remove(queue)
        await office.tender.delete(queue)

    async def peek(self, queue: str, limit: int) -> Sequence[Message]:
        """Return the next ready messages."""
        return await self._opened().tender.peek(queue, limit)

    async def pause(self, queue: str) -> None:
        """Deliver nothing of ``queue`` until `resume`."""
        await self._opened().catalog.set_paused(queue, paused=True)

    async def resume(self, queue: str) -> None:
        """Deliver again."""
        await self._opened().catalog.set_paused(queue, paused=False)

    async def revoke(self, ids: Sequence[str], until: datetime) -> None:
        """Remember that the messages named ``ids`` are not to be run."""
        await telling.revoke(self._opened().link, ids, until)

    @asynccontextmanager
    async def revoked(self) -> AsyncIterator[Revocations]:
        """Follow the revocations."""
        async with telling.revoked(self._opened().link, self.clock.now()) as revocations:
            yield revocations

    def _opened(self) -> Office:
        if self._office is None:
            raise ConnectionLost(f"the transport to {self._address.shown} is not open")
        return self._office

    def _lost(self, error: TransportError) -> None:
        """Hear that the connection is gone: everything that hung on it is dead, and cleared away."""
        office, self._office = self._office, None
        if office is not None:
            clearing = asyncio.create_task(office.clear())
            self._clearing.add(clearing)
            clearing.add_done_callback(self._clearing.discard)
            self.on_lost(error)
