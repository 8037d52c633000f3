"""Priorities: strict where they are declared, refused where they are not."""

from __future__ import annotations

import pytest

from celeriac.errors import ConfigurationError, Unsupported
from celeriac.message import REQUEUE, Dead, DeadLetter
from celeriac.testing.conformance.clauses import clause, requires
from celeriac.testing.conformance.transport_case import TransportCase, ids, message_to, settled, take
from celeriac.topology import DEAD_SUFFIX


class PriorityTests(TransportCase):
    """Clauses PRI-*."""

    @clause("PRI-1", "PRI-2", "PUB-6")
    @requires("priority_levels")
    async def test_higher_is_sooner(self) -> None:
        """All levels, published in disorder, come sorted; within a level in the order of publishing."""
        transport = await self.first()
        queue = await self.queue(transport, priorities=10)
        levels = transport.capabilities(queue).priority_levels
        disorder = [(7 * number) % levels for number in range(3 * levels)]
        messages = [message_to(queue, priority=priority) for priority in disorder]
        assert all(receipt.ok for receipt in await transport.publish(messages))
        taken = await take(await self.consume(transport, queue), len(messages))
        in_order = sorted(messages, key=lambda message: -message.priority)
        assert ids(taken) == ids(in_order)
        assert [delivery.message.priority for delivery in taken] == sorted(disorder, reverse=True)

    @clause("PRI-1")
    @requires("priority_levels")
    async def test_a_latecomer_overtakes(self) -> None:
        """A higher priority published later comes before the lower ones that still wait."""
        transport = await self.first()
        queue = await self.queue(transport, priorities=10)
        low = await self.filled(transport, queue, 3)
        consumer = await self.consume(transport, queue, prefetch=1)
        held = await take(consumer, 1)
        top = transport.capabilities(queue).priority_levels - 1
        (high,) = await self.filled(transport, queue, 1, priority=top)
        order = []
        for _ in range(3):
            await settled(consumer, held)
            held = await take(consumer, 1)
            order += ids(held)
        assert order == [high.id, *ids(low[1:])]

    @clause("PRI-3")
    async def test_zero_is_accepted_everywhere(self) -> None:
        """On a queue without priorities it is what every message has."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 1, priority=0)
        (delivery,) = await take(await self.consume(transport, queue), 1)
        assert delivery.message.priority == 0

    @clause("PRI-3", "CAP-2")
    async def test_a_priority_that_the_queue_does_not_keep(self) -> None:
        """It is refused by the queue's name and with the declaration to write; nothing is written."""
        transport = await self.first()
        queue = await self.queue(transport)
        levels = transport.capabilities(queue).priority_levels
        assert levels == 1, "a queue declared with one priority keeps one"
        for exchange in ("", queue.name):
            odd = message_to(queue, priority=1, exchange=exchange)
            with pytest.raises(Unsupported, match="priorities=") as raised:
                await transport.publish([message_to(queue), odd])
            assert queue.name in str(raised.value)
        await self.refused(transport, queue)

    @clause("PRI-3")
    async def test_what_is_no_priority(self) -> None:
        """Below 0 and above 9 it is a mistake of the caller, on every queue; nothing is written."""
        transport = await self.first()
        queue = await self.queue(transport)
        for priority in (-1, 10, 255):
            with pytest.raises(ConfigurationError, match=str(priority)):
                await transport.publish([message_to(queue), message_to(queue, priority=priority)])
        await self.refused(transport, queue)

    @clause("SET-11")
    @requires("priority_levels")
    async def test_a_priority_survives(self) -> None:
        """Requeued, given back by leaving, and dead-lettered, it is what it was, and counts as such."""
        transport = await self.first()
        queue = await self.queue(transport, priorities=10)
        self.stack.push_async_callback(self.tidy, queue.name + DEAD_SUFFIX)
        top = transport.capabilities(queue).priority_levels - 1
        sent = [message_to(queue), message_to(queue, priority=top)]
        assert all(receipt.ok for receipt in await transport.publish(sent))
        expected = [(sent[1].id, top), (sent[0].id, 0)]
        for action in (REQUEUE, None, Dead(DeadLetter(reason="kit"))):
            async with transport.consume([queue.name], prefetch=2) as consumer:
                held = await take(consumer, 2)
                assert [(d.message.id, d.message.priority) for d in held] == expected
                await consumer.stop()
                if action is not None:
                    await settled(consumer, reversed(held), action)
        dead = await take(await self.consume(transport, queue.name + DEAD_SUFFIX), 2)
        assert [(delivery.message.id, delivery.message.priority) for delivery in dead] == expected
