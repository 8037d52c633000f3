"""The transport port on a `Broker` of this process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost
from celeriac.transport import Revocations, Transport
from celeriac_memory.address import capabilities, parse
from celeriac_memory.bell import Inbox
from celeriac_memory.consumer import Link, MemoryConsumer
from celeriac_memory.registry import broker_named, forget

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from celeriac.clock import Clock
    from celeriac.errors import TransportError
    from celeriac.message import Message, Receipt
    from celeriac.topology import Queue, Topology
    from celeriac.transport import Capabilities, Consumer, Depth
    from celeriac_memory.queue import Stored


class MemoryTransport(Transport):
    """``memory://name?lease=seconds`` (default 30): the broker of that name in this process.

    Without a name it is the App's own.
    """

    scoped = True

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: Clock,
        on_lost: Callable[[TransportError], None],
    ) -> None:
        """Keep the name."""
        super().__init__(urls, clock=clock, on_lost=on_lost)
        self._address = parse(self.urls)
        self._link: Link | None = None

    def capabilities(self, queue: Queue) -> Capabilities:
        """Return what holds for ``queue``."""
        return capabilities(queue, self._address.lease)

    async def open(self) -> None:
        """Find the broker."""
        if self._link is None:
            self._link = Link(broker_named(self._address.name))

    async def close(self) -> None:
        """Give back what our consumers hold, and let go of the broker."""
        link, self._link = self._link, None
        if link is not None:
            link.drop(ConnectionLost(f"the transport to {self.urls[0]} was closed"), self.clock.now(), lost=False)

    def sever(self) -> None:
        """Lose the connection, as a broker that dies would; for tests of what follows."""
        link, self._link = self._link, None
        if link is not None:
            error = ConnectionLost(f"the connection to {self.urls[0]} was severed")
            link.drop(error, self.clock.now(), lost=True)
            self.on_lost(error)

    def forget(self) -> None:
        """Drop the broker and the results of this name, for tests; transports that are open keep theirs."""
        forget(self._address.name)

    def contents(self) -> Sequence[Stored]:
        """Return all that is in any queue, for tests; callable from any thread."""
        return self._opened().broker.contents(self.clock.now())

    async def declare(self, topology: Topology) -> None:
        """Make ``topology`` exist, or check it."""
        self._opened().broker.declare(topology)

    async def publish(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        """Store messages, all in one step."""
        await asyncio.sleep(0)  # a publisher in a tight loop leaves room for the consumers beside it
        return self._opened().broker.publish(messages, self.clock.now())

    @asynccontextmanager
    async def consume(self, queues: Sequence[str], *, prefetch: int) -> AsyncIterator[Consumer]:
        """Open a window on ``queues``."""
        consumer = MemoryConsumer(self._opened(), queues, prefetch, self._address.lease, self.clock)
        try:
            yield consumer
        finally:
            consumer.leave()

    async def signal(self, topic: str, body: bytes) -> None:
        """Tell every listener of ``topic``."""
        self._opened().broker.signal(topic, body)

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Hear what is signalled from now on."""
        link, inbox = self._opened(), Inbox[bytes]()
        link.broker.listen(topic, inbox.put)
        with link.following(inbox.fail):
            try:
                yield inbox
            finally:
                link.broker.unlisten(topic, inbox.put)

    async def depth(self, queue: str) -> Depth:
        """Say how full ``queue`` is."""
        return self._opened().broker.depth(queue, self.clock.now())

    async def purge(self, queue: str) -> int:
        """Drop what is ready or delayed."""
        return self._opened().broker.purge(queue, self.clock.now())

    async def delete(self, queue: str) -> None:
        """Delete ``queue`` and all in it."""
        self._opened().broker.delete(queue)

    async def peek(self, queue: str, limit: int) -> Sequence[Message]:
        """Return the next ready messages."""
        return self._opened().broker.peek(queue, limit, self.clock.now())

    async def pause(self, queue: str) -> None:
        """Deliver nothing of ``queue`` until `resume`."""
        self._opened().broker.set_paused(queue, self.clock.now(), paused=True)

    async def resume(self, queue: str) -> None:
        """Deliver again."""
        self._opened().broker.set_paused(queue, self.clock.now(), paused=False)

    async def revoke(self, ids: Sequence[str], until: datetime) -> None:
        """Remember that the messages named ``ids`` are not to be run."""
        self._opened().broker.revoke(ids, until, self.clock.now())

    @asynccontextmanager
    async def revoked(self) -> AsyncIterator[Revocations]:
        """Follow the revocations."""
        link, inbox = self._opened(), Inbox[str]()
        known = link.broker.follow(inbox.put, self.clock.now())
        with link.following(inbox.fail):
            try:
                yield Revocations(known, inbox)
            finally:
                link.broker.unfollow(inbox.put)

    def _opened(self) -> Link:
        if self._link is None:
            raise ConnectionLost(f"the transport to {self.urls[0]} is not open")
        return self._link
