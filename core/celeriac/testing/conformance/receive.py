"""Receiving: as soon as there is something, to one consumer at a time, and nothing lost on the way."""

from __future__ import annotations

import asyncio

import pytest

from celeriac.errors import ConnectionLost, QueueNotFound
from celeriac.testing.conformance.case import unique
from celeriac.testing.conformance.clauses import clause, requires
from celeriac.testing.conformance.transport_case import (
    TransportCase,
    ids,
    message_to,
    nothing,
    settled,
    take,
    take_all,
)
from celeriac.topology import Topology

WAKE = 1.0  # seconds, RCV-2


class ReceiveTests(TransportCase):
    """Clauses RCV-*."""

    @clause("RCV-1")
    async def test_limit_and_wait(self) -> None:
        """Never more than ``limit``, and an empty sequence after ``wait`` seconds, not before."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 5)
        consumer = await self.consume(transport, queue)
        loop = asyncio.get_running_loop()
        taken = [*await take(consumer, 2), *await take(consumer, 3)]
        assert len(set(ids(taken))) == 5
        started = loop.time()
        assert not await consumer.receive(10, 0.4)
        assert 0.3 < loop.time() - started < 1.4
        started = loop.time()
        assert not await consumer.receive(10, 0)
        assert loop.time() - started < 0.5

    @clause("RCV-1", "RCV-2")
    async def test_a_sleeper_is_woken(self) -> None:
        """By the first message, without waiting for ``limit`` of them, and from another transport."""
        transport, other = await self.first(), await self.open()
        queue = await self.queue(transport)
        consumer = await self.consume(transport, queue)
        await nothing(consumer)  # it has nothing buffered, and has gone to sleep once
        receiving = asyncio.ensure_future(consumer.receive(10, 10))
        await asyncio.wait([receiving], timeout=0.1)
        loop = asyncio.get_running_loop()
        started = loop.time()
        (message,) = await self.filled(other, queue, 1)
        assert ids(await receiving) == [message.id]
        assert loop.time() - started < WAKE

    @clause("RCV-2", "LIFE-7")
    @requires("cross_process")
    async def test_a_sleeper_is_woken_from_another_process(self) -> None:
        """Within a second of the publish there."""
        transport = await self.first()
        queue = await self.queue(transport)
        consumer = await self.consume(transport, queue)
        child = await self.child("publish", queue.name)
        receiving = asyncio.ensure_future(consumer.receive(1, 10))
        loop = asyncio.get_running_loop()
        assert await child.says() == "ready"
        await child.tell("go")
        assert await child.says() == "done"
        started = loop.time()
        assert len(await receiving) == 1
        assert loop.time() - started < WAKE

    @clause("RCV-3", "RCV-4")
    async def test_one_consumer_at_a_time(self) -> None:
        """Two consumers share a queue: each message once, tokens unique, the queue named."""
        one, other = await self.first(), await self.open()
        queue = await self.queue(one)
        consumers = [await self.consume(transport, queue, prefetch=7) for transport in (one, other, one)]
        messages = await self.filled(one, queue, 60)
        seen: list[str] = []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 10

        async def drain(index: int) -> None:
            tokens = set()
            while len(seen) < 60 and loop.time() < deadline:
                for delivery in await consumers[index].receive(5, 0.2):
                    assert delivery.queue == queue.name
                    assert delivery.token not in tokens
                    tokens.add(delivery.token)
                    seen.append(delivery.message.id)
                    await settled(consumers[index], [delivery])

        await asyncio.gather(*(drain(index) for index in range(3)))
        assert sorted(seen) == sorted(ids(messages))

    @clause("RCV-5")
    async def test_cancelling_receive_loses_nothing(self) -> None:
        """Cancelled at every turn of the loop around a publish; the rest comes with the next call, or comes back."""
        transport = await self.first()
        queue = await self.queue(transport)
        consumer = await self.consume(transport, queue)
        sent, seen = [], set[str]()
        for turns in range(15):
            receiving = asyncio.ensure_future(consumer.receive(1, 5))
            await asyncio.sleep(0)
            sent += await self.filled(transport, queue, 2)
            for _ in range(turns):
                await asyncio.sleep(0)
            receiving.cancel()
            await asyncio.wait([receiving])
            if not receiving.cancelled():
                seen |= {*ids(receiving.result())}
                await settled(consumer, receiving.result())
        seen |= {*ids(await take_all(consumer))}
        assert seen == {*ids(sent)}

    @clause("RCV-6")
    async def test_no_queue_starves(self) -> None:
        """Of three full queues each delivers before any has delivered everything."""
        transport = await self.first()
        queues = [await self.queue(transport) for _ in range(3)]
        for queue in queues:
            await self.filled(transport, queue, 20)
        consumer = await self.consume(transport, *queues, prefetch=6)
        counts = dict.fromkeys((queue.name for queue in queues), 0)
        while max(counts.values()) < 20:
            (delivery,) = await take(consumer, 1)
            counts[delivery.queue] += 1
            await settled(consumer, [delivery])
        assert min(counts.values()) > 0, counts

    @clause("RCV-7", "RCV-9")
    async def test_stop(self) -> None:
        """Nothing more comes, at once; the rest is ready for others; what is in hand can be settled."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 10)
        consumer = await self.consume(transport, queue)
        taken = await take(consumer, 4)
        await consumer.stop()
        await consumer.stop()
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert not await consumer.receive(10, 5)
        assert loop.time() - started < 1
        assert not await consumer.check()
        other = await self.consume(transport, queue)
        assert {*ids(await take(other, 6))} == {*ids(messages)} - {*ids(taken)}
        assert all(await consumer.extend(taken))
        await settled(consumer, taken)
        await nothing(other)

    @clause("RCV-7")
    async def test_stop_wakes_a_sleeper(self) -> None:
        """A `receive` that waits when `stop` is called returns at once, empty."""
        transport = await self.first()
        consumer = await self.consume(transport, await self.queue(transport))
        receiving = asyncio.ensure_future(consumer.receive(1, 30))
        await asyncio.wait([receiving], timeout=0.1)
        await consumer.stop()
        async with asyncio.timeout(2):
            assert not await receiving

    @clause("RCV-8")
    async def test_leaving_gives_back(self) -> None:
        """Whether the block is left in peace or by an exception, what is unsettled is ready at once."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 4)
        async with transport.consume([queue.name], prefetch=4) as consumer:
            first, *_ = await take(consumer, 4)
            assert not first.redelivered
            await settled(consumer, [first])

        async def fail() -> None:
            async with transport.consume([queue.name], prefetch=4) as consumer:
                assert {*ids(await take(consumer, 3))} == {*ids(messages[1:])}
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        again = await take(await self.consume(await self.open(), queue), 3, within=2)
        assert {*ids(again)} == {*ids(messages[1:])}
        assert all(delivery.redelivered for delivery in again)

    @clause("RCV-9", "RCV-11")
    async def test_a_queue_deleted_under_a_consumer(self) -> None:
        """Once it is declared again, the consumer delivers again or says that it is lost; it is not silent."""
        transport, other = await self.first(), await self.open()
        queue = await self.queue(transport)
        consumer = await self.consume(transport, queue)
        assert await consumer.check()
        await nothing(consumer)
        await other.delete(queue.name)
        await other.declare(Topology.of([queue]))
        (message,) = await self.filled(other, queue, 1)
        try:
            assert ids(await take(consumer, 1)) == [message.id]
        except ConnectionLost:
            assert not await consumer.check()

    @clause("RCV-10")
    async def test_a_queue_that_does_not_exist(self) -> None:
        """It is named on entry, also beside one that exists."""
        transport = await self.first()
        queue = await self.queue(transport)
        missing = unique("nobody")
        for names in ([missing], [queue.name, missing]):
            with pytest.raises(QueueNotFound, match=missing):
                await self.consume(transport, *names)
        assert (await transport.publish([message_to(queue)]))[0].ok, "the transport is still usable"
        assert len(await take(await self.consume(transport, queue), 1)) == 1
