"""The transport port on one SQLite file.

Everything is kept in the file's tables, so that any number of processes of one machine share it and nothing is lost
with one of them. Leases and delays go by the machine's wall clock, the only one that processes have in common: a
clock that jumps ahead ends leases early, and what they held is delivered twice.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, MessageTooLarge, TransportError
from celeriac.message import Outcome, Receipt
from celeriac.transport import Revocations, Transport
from celeriac_sqlite.address import Address
from celeriac_sqlite.capabilities import capabilities
from celeriac_sqlite.consumer import SqliteConsumer, give_back
from celeriac_sqlite.doorbell import HELD, MESSAGES, REVOCATIONS, SIGNALS
from celeriac_sqlite.feed import Feed
from celeriac_sqlite.operations import declare as declaring
from celeriac_sqlite.operations import follow, tend
from celeriac_sqlite.operations.publish import Outgoing, Publish, check, publish
from celeriac_sqlite.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from celeriac.clock import Clock
    from celeriac.message import Message
    from celeriac.topology import Queue, Topology
    from celeriac.transport import Capabilities, Consumer, Depth
    from celeriac_sqlite.operations.claim import Token

TOGETHER = 500  # messages of one call in one transaction: some 5 ms
LARGEST = 256 * 2**20  # bytes of one message: twice that in hexadecimal is what SQLite can hand out at once
FIRST_LOOK = 0


class SqliteTransport(Transport):
    """``sqlite:///file.db?synchronous=full&lease=30``: see `celeriac_sqlite.address.Address`."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: Clock,
        on_lost: Callable[[TransportError], None],
    ) -> None:
        """Keep the file's name."""
        super().__init__(urls, clock=clock, on_lost=on_lost)
        self._address = Address.of(self.urls)
        self._session: Session | None = None
        self._consumers: set[SqliteConsumer] = set()
        self._orphans: list[Token] = []  # held by consumers that died with a lost database

    def capabilities(self, queue: Queue) -> Capabilities:
        """Return what holds for ``queue``."""
        return capabilities(queue, self._address.lease)

    async def open(self) -> None:
        """Open the file, making it if need be, and finish what a killed process left half deleted."""
        if self._session is not None and self._session.is_open:
            return
        await self._bury(self._session)
        self._session = await Session.open(self._address, self.on_lost)
        orphans, self._orphans = self._orphans, []
        await give_back(self._session, orphans, self.clock)
        await self._sweep()

    async def close(self) -> None:
        """Give back what our consumers hold, and let go of the file."""
        session, self._session = self._session, None
        if session is not None:
            await self._bury(session)
            await session.close()

    async def declare(self, topology: Topology) -> None:
        """Make ``topology`` exist, or check it."""
        if topology.mode != "never":
            await self._opened().write(declaring.declare, topology, look=declaring.declared)

    async def publish(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        """Store messages, 500 in a transaction. Cancelled, it leaves what is not begun unstored."""
        session, clock = self._opened(), self.clock
        outgoing = Outgoing.of(messages)
        _refuse_large(outgoing)
        parts = [outgoing[start : start + TOGETHER] for start in range(0, len(outgoing), TOGETHER)]
        if len(parts) > 1:
            await session.read(check, Publish(outgoing, clock))
        waiting = [session.write(publish, Publish(part, clock), weight=len(part), recallable=True) for part in parts]
        receipts: list[Receipt] = []
        try:
            for part, future in zip(parts, waiting, strict=True):
                try:
                    receipts += await future
                except TransportError as error:
                    if not receipts:
                        raise
                    receipts += [Receipt(Outcome.NOT_SENT, str(error))] * len(part)
        finally:
            for future in waiting:  # given up: what is not begun is not to be stored later
                future.cancel()
        return receipts

    @asynccontextmanager
    async def consume(self, queues: Sequence[str], *, prefetch: int) -> AsyncIterator[Consumer]:
        """Open a window on ``queues``."""
        session = self._opened()
        for queue in queues:
            await session.read(tend.exists, queue)
        with session.watch(MESSAGES, HELD) as event:
            consumer = SqliteConsumer(session, queues, prefetch, self._address.lease, self.clock, event)
            self._consumers.add(consumer)
            try:
                yield consumer
            finally:
                orphans = await consumer.leave()
                if consumer in self._consumers:
                    self._consumers.remove(consumer)
                    self._orphans += orphans

    async def signal(self, topic: str, body: bytes) -> None:
        """Tell every listener of ``topic``."""
        await self._opened().write(follow.signal, follow.Signal(topic, body, self.clock))

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Hear what is signalled from now on."""
        session = self._opened()
        with session.watch(SIGNALS) as event:
            after = await session.read(follow.mark, None)
            yield Feed(
                after, lambda last: session.read(follow.signals_after, follow.After(last, self.clock, topic)), event
            )

    async def depth(self, queue: str) -> Depth:
        """Count what is in ``queue``."""
        await self._tidy(queue)
        found: Depth = await self._opened().read(tend.depth, tend.AtQueue(queue, self.clock))
        return found

    async def purge(self, queue: str) -> int:
        """Drop what is ready or delayed, in steps."""
        session = self._opened()
        last = await session.write(tend.last_number, tend.AtQueue(queue, self.clock))
        dropped = 0
        while step := await session.write(tend.purge, tend.Purge(queue, self.clock, last), weight=tend.STEP):
            dropped += step
        return dropped

    async def delete(self, queue: str) -> None:
        """Delete ``queue`` at once, and what was in it in steps."""
        await self._opened().write(tend.condemn, queue)
        await self._sweep()

    async def peek(self, queue: str, limit: int) -> Sequence[Message]:
        """Return the next ready messages."""
        await self._tidy(queue)
        found: Sequence[Message] = await self._opened().read(tend.peek, tend.Peek(queue, self.clock, limit))
        return found

    async def pause(self, queue: str) -> None:
        """Deliver nothing of ``queue`` until `resume`."""
        await self._opened().write(tend.set_paused, tend.Pause(queue, paused=True))

    async def resume(self, queue: str) -> None:
        """Deliver again."""
        await self._opened().write(tend.set_paused, tend.Pause(queue, paused=False))

    async def revoke(self, ids: Sequence[str], until: datetime) -> None:
        """Remember that the messages named ``ids`` are not to be run."""
        call = follow.Revoke(ids, until, self.clock)
        await self._opened().write(follow.revoke, call, weight=len(ids))

    @asynccontextmanager
    async def revoked(self) -> AsyncIterator[Revocations]:
        """Follow the revocations."""
        session = self._opened()
        with session.watch(REVOCATIONS) as event:
            feed = Feed[str](
                FIRST_LOOK, lambda last: session.read(follow.revoked_after, follow.After(last, self.clock)), event
            )
            while await feed.read():
                pass
            yield Revocations(frozenset(feed.take()), feed)

    async def _bury(self, session: Session | None) -> None:
        """End the consumers of ``session``; after a fork they are the parent's, and are only forgotten."""
        consumers, self._consumers = self._consumers, set()
        if session is None or session.is_inherited:
            self._orphans = []
            return
        for consumer in consumers:
            self._orphans += await consumer.leave()

    async def _tidy(self, queue: str) -> None:
        call = tend.AtQueue(queue, self.clock)
        while not await self._opened().write(tend.tidy, call, look=tend.nothing_due, weight=tend.STEP):
            pass

    async def _sweep(self) -> None:
        while not await self._opened().write(tend.sweep, None, look=tend.nothing_condemned, weight=tend.STEP):
            pass

    def _opened(self) -> Session:
        if self._session is None:
            raise ConnectionLost(f"the transport to {self._address.path} is not open")
        return self._session


def _refuse_large(messages: Sequence[Outgoing]) -> None:
    for outgoing in messages:
        size = len(outgoing.properties) + len(outgoing.message.body)
        if size > LARGEST:
            raise MessageTooLarge(f"message {outgoing.message.id!r} has {size} bytes; SQLite keeps up to {LARGEST}")
