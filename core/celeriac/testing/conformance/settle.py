"""Settling: once, by the one who holds it, with an answer for each."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from celeriac.errors import PublishError
from celeriac.message import ACK, REQUEUE, Dead, DeadLetter, Move, Requeue, Settlement, SettleReceipt
from celeriac.testing.conformance.case import eventually, unique
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
from celeriac.topology import DEAD_SUFFIX

if TYPE_CHECKING:
    from celeriac.message import Action

KEPT = {SettleReceipt.DONE, SettleReceipt.SENT}


class SettleTests(TransportCase):
    """Clauses SET-*, but for the fence, which stands with the leases."""

    @clause("SET-1")
    async def test_ack_forgets(self) -> None:
        """Neither this consumer, nor another, nor another transport sees it again."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 3)
        async with transport.consume([queue.name], prefetch=3) as consumer:
            await settled(consumer, await take(consumer, 3))
            await nothing(consumer)
        await transport.close()
        await transport.open()
        await nothing(await self.consume(transport, queue))

    @clause("SET-2")
    async def test_requeue_is_ready_at_once(self) -> None:
        """For another consumer, marked, and once."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 2)
        consumer = await self.consume(transport, queue)
        held = await take(consumer, 2)
        await consumer.stop()
        await given_back(consumer, held[:1])
        other = await self.consume(await self.open(), queue)
        (again,) = await take(other, 1, within=2)
        assert (again.message.id, again.redelivered) == (messages[0].id, True)
        await settled(other, [again])
        await nothing(other)

    @clause("SET-3", "DLY-1")
    @requires("max_delay")
    async def test_requeue_with_a_delay(self) -> None:
        """Not before its moment, and soon after it, with all that it carried."""
        transport = await self.first()
        queue = await self.queue(transport)
        (message,) = await self.filled(transport, queue, 1, headers={"kept": [1]}, body=b"kept")
        consumer = await self.consume(transport, queue)
        delay = timedelta(seconds=0.7)
        due = self.moment(delay)
        await settled(consumer, await take(consumer, 1), Requeue(delay))
        (again,) = await self.on_time(consumer, due)
        assert (again.message.id, again.message.body, again.message.headers) == (message.id, b"kept", {"kept": [1]})

    @clause("CAP-2", "SET-3")
    @lacks("max_delay")
    async def test_requeue_with_a_delay_is_refused(self) -> None:
        """Where there are no delays, the delivery is still held."""
        await self.still_held_after(Requeue(timedelta(seconds=1)))

    @clause("SET-4", "SET-6")
    async def test_move_publishes_and_acks(self) -> None:
        """The successors are in their queues; the delivery is gone."""
        transport = await self.first()
        queue, one, other = [await self.queue(transport) for _ in range(3)]
        await self.filled(transport, queue, 1)
        consumer = await self.consume(transport, queue)
        successors = [message_to(one), message_to(other, exchange=other.name), message_to(one)]
        await settled(consumer, await take(consumer, 1), Move(successors))
        assert ids(await take(await self.consume(transport, one), 2)) == ids([successors[0], successors[2]])
        assert ids(await take(await self.consume(transport, other), 1)) == ids([successors[1]])
        await consumer.stop()
        await nothing(await self.consume(transport, queue))

    @clause("SET-4")
    async def test_move_back_to_its_own_queue(self) -> None:
        """A retry is a new message of the same id: delivered as such, not as a redelivery."""
        transport = await self.first()
        queue = await self.queue(transport)
        (message,) = await self.filled(transport, queue, 1)
        consumer = await self.consume(transport, queue)
        successor = message_to(queue, id=message.id, headers={"retries": 1})
        await settled(consumer, await take(consumer, 1), Move([successor]))
        (again,) = await take(consumer, 1)
        assert (again.message.id, again.message.headers, again.redelivered) == (message.id, {"retries": 1}, False)
        await settled(consumer, [again])
        await nothing(consumer)

    @clause("SET-4")
    async def test_a_move_that_cannot_be_published(self) -> None:
        """`PublishError`; nothing of the call is settled, and all of it can be settled otherwise."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 2)
        consumer, other = await self.consume(transport, queue), await self.consume(transport, queue)
        held = await take(consumer, 2)
        with pytest.raises(PublishError):
            await consumer.settle(
                [Settlement(held[0].token), Settlement(held[1].token, Move([message_to(unique("nobody"))]))]
            )
        await nothing(other)
        await given_back(consumer, held[:1])
        await settled(consumer, held[1:])
        await consumer.stop()
        assert ids(await take(other, 1)) == ids(messages[:1])
        await nothing(other)

    @clause("SET-5")
    @requires("atomic_move")
    async def test_a_move_is_all_or_nothing(self) -> None:
        """If one successor has no queue, the others are not published either."""
        transport = await self.first()
        queue, target = await self.queue(transport), await self.queue(transport)
        await self.filled(transport, queue, 1)
        consumer = await self.consume(transport, queue)
        (held,) = await take(consumer, 1)
        with pytest.raises(PublishError):
            await consumer.settle([Settlement(held.token, Move([message_to(target), message_to(unique("nobody"))]))])
        await nothing(await self.consume(transport, target))
        await settled(consumer, [held])

    @clause("SET-6")
    async def test_a_receipt_for_each(self) -> None:
        """Of every action in one call, in order; an empty call has an empty answer."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 4)
        consumer, stranger = await self.consume(transport, queue), await self.consume(transport, queue)
        held = await take(consumer, 4)
        assert list(await consumer.settle([])) == []
        actions: list[Action] = [ACK, REQUEUE, Move([message_to(queue)]), Dead(DeadLetter(reason="kit"))]
        self.stack.push_async_callback(self.tidy, queue.name + DEAD_SUFFIX)
        receipts = await consumer.settle([Settlement(d.token, a) for d, a in zip(held, actions, strict=True)])
        assert len(receipts) == 4
        assert {*receipts} <= KEPT
        await consumer.stop()
        again = await take(stranger, 2)
        foreign = await stranger.settle([Settlement(held[0].token), Settlement(again[0].token)])
        assert foreign[0] is SettleReceipt.LOST
        assert foreign[1] in KEPT

    @clause("SET-7")
    async def test_a_token_of_another_consumer(self) -> None:
        """It is lost, on the same transport and on another, and neither's message is touched."""
        transport, elsewhere = await self.first(), await self.open()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 3)
        consumers = [await self.consume(t, queue, prefetch=1) for t in (transport, transport, elsewhere)]
        held = [(await take(consumer, 1))[0] for consumer in consumers]
        for index, consumer in enumerate(consumers):
            for foreign in (held[index - 1], held[index - 2]):
                assert list(await consumer.settle([Settlement(foreign.token)])) == [SettleReceipt.LOST]
        last = await self.consume(transport, queue)
        await nothing(last)
        for consumer, delivery in zip(consumers, held, strict=True):
            await consumer.stop()
            await given_back(consumer, [delivery])
        assert {*ids(await take(last, 3))} == {*ids(messages)}

    @clause("SET-7")
    async def test_a_token_of_before_a_reopening(self) -> None:
        """It is lost: the message belongs to whoever has it now, and no other is touched."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 2)
        async with transport.consume([queue.name], prefetch=1) as consumer:
            (old,) = await take(consumer, 1)
            await transport.close()
        await transport.open()
        again = await self.consume(transport, queue, prefetch=2)
        held = await take(again, 2)
        assert list(await again.settle([Settlement(old.token)])) == [SettleReceipt.LOST]
        await given_back(again, held)
        assert sorted(ids(await take(again, 2))) == sorted(ids(messages))

    @clause("SET-8")
    async def test_settling_twice(self) -> None:
        """`ValueError`, whether in two calls or in one, and nothing of the call is done."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 3)
        consumer, other = await self.consume(transport, queue), await self.consume(transport, queue)
        first, second, third = await take(consumer, 3)
        await settled(consumer, [first])
        with pytest.raises(ValueError, match="settled"):
            await consumer.settle([Settlement(second.token), Settlement(first.token)])
        with pytest.raises(ValueError, match="settled"):
            await consumer.settle([Settlement(third.token), Settlement(third.token)])
        await consumer.stop()
        await given_back(consumer, [second, third])
        assert {*ids(await take(other, 2))} == {*ids([second, third])}
        await nothing(other)

    @clause("SET-10")
    @requires("exact_delivery_count")
    async def test_graceful_returns_are_not_counted(self) -> None:
        """Requeued, requeued with a delay, stopped, left, closed: the next hand-over is the first that counts."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 1)
        delayed = (await self.capabilities()).max_delay is not None
        for action in (REQUEUE, Requeue(timedelta(seconds=0.1)) if delayed else REQUEUE, None, None):
            async with transport.consume([queue.name], prefetch=1) as consumer:
                (delivery,) = await take(consumer, 1)
                assert delivery.delivery_count == 1
                await consumer.stop()
                if action is not None:
                    await settled(consumer, [delivery], action)
        await transport.close()
        await transport.open()
        (delivery,) = await take(await self.consume(transport, queue), 1)
        assert (delivery.delivery_count, delivery.redelivered) == (1, True)

    @clause("SET-10", "CAP-2")
    @lacks("exact_delivery_count")
    async def test_no_count_rather_than_a_wrong_one(self) -> None:
        """A broker that does not count exactly says nothing."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 1)
        consumer = await self.consume(transport, queue)
        for _ in range(2):
            (delivery,) = await take(consumer, 1)
            assert delivery.delivery_count is None
            await given_back(consumer, [delivery])

    @clause("SET-6")
    async def test_the_depth_after_settling(self) -> None:
        """Nothing is ready or running any more."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 5)
        consumer = await self.consume(transport, queue)
        await settled(consumer, await take(consumer, 5))
        await eventually(
            lambda: transport.depth(queue.name), lambda depth: depth.ready == 0 and depth.running in {0, None}
        )
