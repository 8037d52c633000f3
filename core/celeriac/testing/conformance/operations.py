"""Looking and tending: depth, purge, delete, peek, pause."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from celeriac.errors import QueueNotFound, Unsupported
from celeriac.message import Outcome
from celeriac.testing.conformance.case import LOOK_AGAIN, eventually, unique
from celeriac.testing.conformance.clauses import clause, lacks, requires
from celeriac.testing.conformance.transport_case import (
    TransportCase,
    given_back,
    ids,
    message_to,
    nothing,
    settled,
    take,
)
from celeriac.topology import Topology

SEEN_BY_ALL = 2.0  # seconds, OPS-6


class OperationTests(TransportCase):
    """Clauses OPS-*."""

    @clause("OPS-1")
    async def test_depth_counts(self) -> None:
        """What is ready, what runs, and what is delayed, each as far as it is answered at all."""
        transport = await self.first()
        queue = await self.queue(transport)
        empty = await transport.depth(queue.name)
        assert (empty.ready, empty.running or 0, empty.delayed or 0, empty.paused) == (0, 0, 0, False)
        await self.filled(transport, queue, 5)
        if (await self.capabilities()).max_delay:
            await self.filled(transport, queue, 2, not_before=self.moment(timedelta(minutes=1)))
        async with transport.consume([queue.name], prefetch=2) as consumer:
            await take(consumer, 2)
            full = await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 3)
            assert full.running in {2, None}
            assert full.delayed in {2 if (await self.capabilities()).max_delay else 0, None}
        await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 5)

    @clause("OPS-1")
    async def test_the_age_of_the_oldest(self) -> None:
        """Where it is answered it grows while the oldest waits, and there is none in an empty queue."""
        transport = await self.first()
        queue = await self.queue(transport)
        assert (await transport.depth(queue.name)).oldest_age is None
        await self.filled(transport, queue, 1)
        first = await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 1)
        await asyncio.sleep(10 * LOOK_AGAIN)
        await self.filled(transport, queue, 1)
        second = await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 2)
        if first.oldest_age is not None:
            assert second.oldest_age is not None
            assert 0 <= first.oldest_age < 5
            assert second.oldest_age - first.oldest_age >= 10 * LOOK_AGAIN * 0.9

    @clause("OPS-1")
    async def test_depth_changes_nothing(self) -> None:
        """Asked again and again, the messages are as they were."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 2)
        for _ in range(20):
            await transport.depth(queue.name)
        taken = await take(await self.consume(transport, queue), 2)
        assert ids(taken) == ids(messages)
        assert not any(delivery.redelivered for delivery in taken)

    @clause("OPS-2")
    async def test_tending_a_queue_that_does_not_exist(self) -> None:
        """It is named, and the transport still works."""
        transport = await self.first()
        missing = unique("nobody")
        with pytest.raises(QueueNotFound, match=missing):
            await transport.depth(missing)
        with pytest.raises(QueueNotFound, match=missing):
            await transport.purge(missing)
        await self.filled(transport, await self.queue(transport), 1)

    @clause("OPS-3")
    async def test_purge(self) -> None:
        """What is ready goes and is counted; what is held can still be settled or given back."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 6)
        consumer = await self.consume(transport, queue, prefetch=2)
        held = await take(consumer, 2)
        await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 4)
        assert await transport.purge(queue.name) == 4
        assert await transport.purge(queue.name) == 0
        await settled(consumer, held[:1])
        await given_back(consumer, held[1:])
        (last,) = await take(consumer, 1)
        assert last.message.id == held[1].message.id
        await settled(consumer, [last])
        await nothing(consumer)

    @clause("OPS-4")
    async def test_delete(self) -> None:
        """Queue and messages are gone, for every transport; deleting again is no error."""
        transport, other = await self.first(), await self.open()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 3)
        await other.delete(queue.name)
        await transport.delete(queue.name)
        with pytest.raises(QueueNotFound):
            await transport.depth(queue.name)
        for exchange in ("", queue.name):
            (receipt,) = await transport.publish([message_to(queue, exchange=exchange)])
            assert receipt.outcome is Outcome.RETURNED
        await transport.declare(Topology.of([queue]))
        await nothing(await self.consume(transport, queue))

    @clause("OPS-5")
    @requires("peek")
    async def test_peek(self) -> None:
        """At most ``limit``, the next first, without what is held; afterwards all is as before."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 5, headers={"kept": 1})
        consumer = await self.consume(transport, queue, prefetch=1)
        held = await take(consumer, 1)
        seen = await transport.peek(queue.name, 3)
        assert ids(seen) == ids(messages[1:4])
        assert (seen[0].body, seen[0].headers) == (messages[1].body, {"kept": 1})
        assert ids(await transport.peek(queue.name, 100)) == ids(messages[1:])
        await consumer.set_prefetch(5)
        rest = await take(consumer, 4)
        assert ids(rest) == ids(messages[1:])
        if (await self.capabilities()).exact_delivery_count:  # a broker without can only look by taking
            assert {(delivery.delivery_count, delivery.redelivered) for delivery in rest} == {(1, False)}
        await settled(consumer, [*held, *rest])
        assert list(await transport.peek(queue.name, 3)) == []

    @clause("CAP-2", "OPS-5")
    @lacks("peek")
    async def test_peek_is_refused(self) -> None:
        """Where it cannot be done without disturbing anything."""
        transport = await self.first()
        queue = await self.queue(transport)
        with pytest.raises(Unsupported):
            await transport.peek(queue.name, 1)

    @clause("OPS-6")
    @requires("pause")
    async def test_pause(self) -> None:
        """Within two seconds no consumer gets anything; what it has it settles; publishing goes on."""
        transport, other = await self.first(), await self.open()
        queue, beside = await self.queue(transport), await self.queue(transport)
        await self.filled(transport, queue, 1)
        consumer = await self.consume(other, queue, beside)
        held = await take(consumer, 1)
        await transport.pause(queue.name)
        await transport.pause(queue.name)
        await nothing(consumer, SEEN_BY_ALL)
        messages = await self.filled(transport, queue, 2)
        (untouched,) = await self.filled(transport, beside, 1)
        assert ids(await take(consumer, 1)) == [untouched.id]
        await nothing(consumer)
        await settled(consumer, held)
        depth = await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 2)
        assert depth.paused
        await transport.resume(queue.name)
        await transport.resume(queue.name)
        assert ids(await take(consumer, 2, within=SEEN_BY_ALL)) == ids(messages)
        assert not (await transport.depth(queue.name)).paused

    @clause("OPS-6")
    @requires("pause")
    async def test_a_pause_outlives_every_client(self) -> None:
        """A transport opened later sees it, and a consumer entered later gets nothing."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 1)
        await transport.pause(queue.name)
        await transport.close()
        later = await self.open()
        assert (await later.depth(queue.name)).paused
        consumer = await self.consume(later, queue)
        await nothing(consumer)
        await later.resume(queue.name)
        await take(consumer, 1, within=SEEN_BY_ALL)

    @clause("CAP-2", "OPS-6")
    @lacks("pause")
    async def test_pause_is_refused(self) -> None:
        """Both ways; and deliveries go on."""
        transport = await self.first()
        queue = await self.queue(transport)
        with pytest.raises(Unsupported):
            await transport.pause(queue.name)
        with pytest.raises(Unsupported):
            await transport.resume(queue.name)
        await self.filled(transport, queue, 1)
        await take(await self.consume(transport, queue), 1)
