"""Delays: kept by the broker, never early, at most `delay_resolution` late."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from celeriac.errors import Unsupported
from celeriac.message import Move, Outcome, Requeue
from celeriac.testing.conformance.case import unique
from celeriac.testing.conformance.clauses import clause, lacks, requires
from celeriac.testing.conformance.transport_case import TransportCase, ids, message_to, now, settled, take
from celeriac.topology import Exchange, Queue, Topology

MANY = 100


class DelayTests(TransportCase):
    """Clauses DLY-*."""

    @clause("DLY-1")
    @requires("max_delay")
    async def test_not_before_its_moment(self) -> None:
        """Nor more than the resolution after it; by the default exchange and by one of its own."""
        transport = await self.first()
        queue = await self.queue(transport)
        due = self.moment(timedelta(seconds=0.7))
        messages = [message_to(queue, not_before=due), message_to(queue, not_before=due, exchange=queue.name)]
        assert all(receipt.ok for receipt in await transport.publish(messages))
        consumer = await self.consume(transport, queue)
        assert {*ids(await self.on_time(consumer, due, 2))} == {*ids(messages)}

    @clause("DLY-2")
    @requires("max_delay")
    async def test_the_past_is_at_once(self) -> None:
        """An hour ago and a year ago are now, in the order of publishing."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = [
            message_to(queue),
            message_to(queue, not_before=self.moment(timedelta(hours=-1))),
            message_to(queue, not_before=self.moment(timedelta(days=-365))),
        ]
        assert all(receipt.ok for receipt in await transport.publish(messages))
        consumer = await self.consume(transport, queue)
        assert ids(await take(consumer, 3, within=2)) == ids(messages)

    @clause("DLY-3")
    @requires("max_delay")
    async def test_longer_than_the_longest(self) -> None:
        """Refused before anything of the call is written; a requeue leaves the delivery held."""
        transport = await self.first()
        longest = (await self.capabilities()).max_delay
        assert longest is not None
        if datetime.max.replace(tzinfo=UTC) - now() <= longest + timedelta(hours=1):
            pytest.skip("the capability max_delay reaches beyond the last moment that can be written")
        too_long = longest + timedelta(hours=1)
        queue = await self.queue(transport)
        with pytest.raises(Unsupported, match=queue.name):
            await transport.publish([message_to(queue), message_to(queue, not_before=self.moment(too_long))])
        await self.refused(transport, queue)
        await self.still_held_after(Requeue(too_long))

    @clause("CAP-2", "DLY-3")
    @lacks("max_delay")
    async def test_delays_are_refused(self) -> None:
        """Where there are none, nothing of the call is written."""
        transport = await self.first()
        queue = await self.queue(transport)
        with pytest.raises(Unsupported, match=queue.name):
            await transport.publish([message_to(queue), message_to(queue, not_before=self.moment(timedelta(hours=1)))])
        await self.refused(transport, queue)

    @clause("DLY-4")
    @requires("max_delay")
    async def test_a_delayed_message_that_no_queue_takes(self) -> None:
        """It is returned at once, by the default exchange, by one without a binding, and by an unknown one."""
        transport = await self.first()
        exchange = Exchange(unique("kit-x"))
        await self.declare(transport, Topology(exchanges=[exchange]))
        due = self.moment(timedelta(hours=1))
        for name in ("", exchange.name, unique("nobody")):
            (receipt,) = await transport.publish([message_to(unique("nobody"), exchange=name, not_before=due)])
            assert receipt.outcome is Outcome.RETURNED, f"exchange {name!r}: {receipt}"

    @clause("DLY-5", "LIFE-5")
    @requires("max_delay")
    async def test_delays_outlive_their_publisher(self) -> None:
        """With every transport closed until after the moment, the message is there when one is opened."""
        transport = await self.first()
        queue = await self.queue(transport)
        due = self.moment(timedelta(seconds=0.5))
        (message,) = await self.filled(transport, queue, 1, not_before=due)
        await transport.close()
        await asyncio.sleep(max(0.0, (due - now()).total_seconds()))  # until the moment: there is no one to ask
        again = await self.open()
        assert ids(await self.on_time(await self.consume(again, queue), due)) == [message.id]

    @clause("DLY-6")
    @requires("max_delay")
    async def test_in_the_order_of_their_moments(self) -> None:
        """A later moment that was published first holds back neither an earlier one nor what is not delayed."""
        transport = await self.first()
        resolution = (await self.capabilities()).delay_resolution
        queue, other = await self.queue(transport), await self.queue(transport)
        early = self.moment(timedelta(seconds=1.5))  # in which everything is published, on a slow broker too
        late = early + resolution + timedelta(seconds=0.3)
        (last,) = await self.filled(transport, queue, 1, not_before=late)
        (middle,) = await self.filled(transport, queue, 1, not_before=early)
        (beside,) = await self.filled(transport, other, 1, not_before=early)
        (first,) = await self.filled(transport, queue, 1)
        consumer, second = await self.consume(transport, queue, prefetch=1), await self.consume(transport, other)
        for expected, due in ((first, None), (middle, early), (last, late)):
            delivery = (await self.on_time(consumer, due))[0] if due else (await take(consumer, 1, within=0.4))[0]
            assert delivery.message.id == expected.id
            await settled(consumer, [delivery])
        assert ids(await take(second, 1)) == [beside.id]

    @clause("DLY-7", "DLY-6")
    @requires("max_delay")
    async def test_a_queue_that_is_gone_when_its_messages_fall_due(self) -> None:
        """They hold back nobody's, however many they are; declared again, the queue takes what is delayed to it."""
        transport = await self.first()
        gone, there = await self.queue(transport), await self.queue(transport)
        due = self.moment(timedelta(seconds=1.5))
        await self.filled(transport, gone, MANY, not_before=due)
        await transport.delete(gone.name)
        late = self.moment(timedelta(seconds=1.5))
        (beside,) = await self.filled(transport, there, 1, not_before=late)
        consumer = await self.consume(transport, there)
        assert ids(await self.on_time(consumer, late)) == [beside.id]
        await self.declare(await self.open(), Topology.of([gone]))
        again = self.moment(timedelta(seconds=0.3))
        (new,) = await self.filled(transport, gone, 1, not_before=again)
        second = await self.consume(transport, gone, prefetch=MANY + 1)
        seen: set[str] = set()
        while new.id not in seen:
            seen |= {*ids(await take(second, 1))}

    @clause("DLY-1", "PUB-6")
    @requires("max_delay")
    async def test_a_delayed_message_arrives_whole(self) -> None:
        """With its exchange, key, headers, and not marked as redelivered."""
        transport = await self.first()
        queue = Queue(unique("kit"), routing_key="kit.key")
        await self.declare(transport, Topology.of([queue]))
        sent = message_to(
            queue,
            exchange=queue.name,
            routing_key="kit.key",
            headers={"a": {"b": [1, None]}},
            correlation_id="c",
            reply_to="r",
            not_before=self.moment(timedelta(seconds=0.2)),
        )
        assert (await transport.publish([sent]))[0].ok
        (delivery,) = await take(await self.consume(transport, queue), 1)
        arrived = delivery.message
        for name in ("id", "exchange", "routing_key", "headers", "body", "correlation_id", "reply_to", "content_type"):
            assert getattr(arrived, name) == getattr(sent, name), name
        assert not delivery.redelivered

    @clause("DLY-1", "SET-4")
    @requires("max_delay")
    async def test_a_delayed_successor(self) -> None:
        """What a `Move` publishes may be delayed: that is what a retry is."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 1)
        consumer = await self.consume(transport, queue)
        (held,) = await take(consumer, 1)
        due = self.moment(timedelta(seconds=0.5))
        successor = message_to(queue, id=held.message.id, not_before=due)
        await settled(consumer, [held], Move([successor]))
        assert ids(await self.on_time(consumer, due)) == [successor.id]
