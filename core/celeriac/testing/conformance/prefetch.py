"""Prefetch: how much one consumer may have in hand."""

from __future__ import annotations

from celeriac.testing.conformance.clauses import clause
from celeriac.testing.conformance.transport_case import TransportCase, ids, nothing, settled, take, take_all

SLOW_QUIET = 1.5  # seconds; a broker that replaces its consumer to change the prefetch may do so once a second


class PrefetchTests(TransportCase):
    """Clauses PRE-*."""

    @clause("PRE-1", "PRE-2")
    async def test_no_more_than_prefetch(self) -> None:
        """Just so many come, the others are free for another consumer, and each settled one makes room for one."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 12)
        consumer = await self.consume(transport, queue, prefetch=4)
        held = await take(consumer, 4)
        await nothing(consumer)
        await settled(consumer, held[:2])
        held = [*held[2:], *await take(consumer, 2)]
        await nothing(consumer)
        other = await self.consume(transport, queue, prefetch=100)
        assert len({*ids(held), *ids(await take(other, 6))}) == 10

    @clause("PRE-1")
    async def test_over_several_queues(self) -> None:
        """The number is a total; at least one a queue where a broker cannot share it."""
        transport = await self.first()
        shared = (await self.capabilities()).shared_prefetch
        queues = [await self.queue(transport) for _ in range(3)]
        for queue in queues:
            await self.filled(transport, queue, 6)
        for prefetch in (1, 4):
            async with transport.consume([queue.name for queue in queues], prefetch=prefetch) as consumer:
                held = await take_all(consumer)
                most = prefetch if shared else max(prefetch, len(queues))
                assert 1 <= len(held) <= most, f"prefetch={prefetch}: {len(held)} held"

    @clause("PRE-3")
    async def test_raising_it(self) -> None:
        """A higher number lets more come, beside what is held."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 8)
        consumer = await self.consume(transport, queue, prefetch=2)
        held = await take(consumer, 2)
        await consumer.set_prefetch(5)
        held += await take(consumer, 3)
        assert len({*ids(held)}) == 5, "what was handed out came again"
        await nothing(consumer)
        await settled(consumer, held)

    @clause("PRE-3")
    async def test_lowering_it(self) -> None:
        """What is handed out stays ours; nothing comes until fewer are held than the new number."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 10)
        consumer = await self.consume(transport, queue, prefetch=5)
        held = await take(consumer, 5)
        await consumer.set_prefetch(2)
        await settled(consumer, held[:3])
        await nothing(consumer, SLOW_QUIET)
        await settled(consumer, held[3:4])
        held = [held[4], *await take(consumer, 1)]
        await nothing(consumer)
        await settled(consumer, held)
        await take(consumer, 2)

    @clause("PRE-4")
    async def test_zero_takes_nothing(self) -> None:
        """What was not handed out is ready for others, what was is ours; another number starts again."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 6)
        consumer = await self.consume(transport, queue, prefetch=4)
        held = await take(consumer, 1)
        await consumer.set_prefetch(0)
        other = await self.consume(transport, queue)
        taken = await take(other, 5)
        assert not {*ids(held)} & {*ids(taken)}
        await self.filled(transport, queue, 1)
        await nothing(consumer)
        await settled(other, [*taken, *await take(other, 1)])
        await other.stop()
        await settled(consumer, held)
        (message,) = await self.filled(transport, queue, 1)
        await nothing(consumer)
        await consumer.set_prefetch(2)
        assert ids(await take(consumer, 1)) == [message.id]
