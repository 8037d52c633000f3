"""Leases: how a delivery outlives neither its process nor its lease."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from celeriac.message import Settlement, SettleReceipt
from celeriac.testing.conformance.clauses import clause, lacks, requires
from celeriac.testing.conformance.transport_case import (
    TransportCase,
    given_back,
    ids,
    nothing,
    now,
    settled,
    take,
)

LONGEST_LEASE = timedelta(seconds=5)
SLACK = 2.0  # seconds beyond the lease until it is noticed


class LeaseTests(TransportCase):
    """Clauses LEA-*, and what a lost lease means for settling."""

    async def _leased(self) -> float:
        """Reopen the test's transport with the short lease the author gives, and return it in seconds."""
        urls = self.given.get("lease_urls") or self.urls
        self.urls = list(urls)
        self._first = await self.open()
        lease = (await self.capabilities()).lease
        assert lease is not None, "the URLs of lease_urls must have a lease where transport_urls have one"
        assert lease <= LONGEST_LEASE, f"a lease of {lease} is long to wait for: give the fixture lease_urls"
        return lease.total_seconds()

    @clause("LEA-1", "SET-9", "SET-10", "LEA-2")
    @requires("lease")
    async def test_a_lost_lease(self) -> None:
        """The message goes to another consumer, and the first can neither extend nor settle it any more."""
        lease = await self._leased()
        transport, known = await self.first(), await self.capabilities()
        queue = await self.queue(transport)
        (message,) = await self.filled(transport, queue, 1)
        loser, winner = await self.consume(transport, queue), await self.consume(await self.open(), queue)
        (old,) = await take(loser, 1)
        assert old.lease_until is not None
        assert 0 < (old.lease_until - now()).total_seconds() <= lease + 0.1
        (new,) = await take(winner, 1, within=lease + SLACK)
        assert now() >= old.lease_until
        assert (new.message.id, new.redelivered) == (message.id, True)
        if known.exact_delivery_count:
            assert (old.delivery_count, new.delivery_count) == (1, 2)
        assert list(await loser.extend([old])) == [False]
        if known.fenced_settle:
            assert list(await loser.settle([Settlement(old.token)])) == [SettleReceipt.LOST]
        await given_back(winner, [new])
        assert ids(await take(winner, 1)) == [message.id]

    @clause("LEA-2")
    @requires("lease")
    async def test_extending_keeps_it(self) -> None:
        """For longer than two leases nobody else gets it, and it is ours to settle."""
        lease = await self._leased()
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 1)
        consumer, other = await self.consume(transport, queue), await self.consume(transport, queue)
        held = await take(consumer, 1)
        loop = asyncio.get_running_loop()
        end = loop.time() + 2.2 * lease
        while loop.time() < end:
            assert list(await consumer.extend(held)) == [True]
            await nothing(other, lease / 3)
        await settled(consumer, held)
        await nothing(other, lease * 1.2)

    @clause("LEA-3")
    @lacks("lease")
    async def test_without_a_lease(self) -> None:
        """`extend` has nothing to do and says so; what is held stays held."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 2)
        consumer = await self.consume(transport, queue)
        await given_back(consumer, await take(consumer, 1))
        await consumer.set_prefetch(2)
        held = await take(consumer, 2)
        other = await self.consume(transport, queue)
        assert [delivery.lease_until for delivery in held] == [None, None]
        assert list(await consumer.extend(held)) == [True, True]
        assert list(await consumer.extend([])) == []
        await nothing(other, 1)
        await settled(consumer, held)

    @clause("LEA-4", "SET-10")
    @requires("cross_process")
    async def test_a_process_that_dies(self) -> None:
        """What a killed process held is delivered to another, within the lease where there is one."""
        known = await self.capabilities()
        lease = await self._leased() if known.lease else 0.0
        transport = await self.first()
        queue = await self.queue(transport)
        (message,) = await self.filled(transport, queue, 1)
        child = await self.child("hold", queue.name)
        assert await child.says() == message.id
        consumer = await self.consume(transport, queue)
        await nothing(consumer, 0.1)
        await child.kill()
        (delivery,) = await take(consumer, 1, within=lease + SLACK)
        assert (delivery.message.id, delivery.redelivered) == (message.id, True)
        assert delivery.delivery_count == (2 if known.exact_delivery_count else None)
        await settled(consumer, [delivery])
