"""Dead letters: set aside with a reason, never lost."""

from __future__ import annotations

from datetime import datetime, timedelta

from celeriac.errors import Unsupported
from celeriac.message import Dead, DeadLetter, Move
from celeriac.testing.conformance.case import eventually
from celeriac.testing.conformance.clauses import clause
from celeriac.testing.conformance.transport_case import TransportCase, ids, message_to, nothing, now, settled, take
from celeriac.topology import DEAD_SUFFIX, Queue, Topology, dead_queue
from celeriac.transport_helpers import OWN_HEADER

LETTER = DeadLetter(reason="undecodable", detail="it was ☃ broken", attempts=3, worker="one@host")


class DeadTests(TransportCase):
    """Clauses DEAD-*."""

    async def _buried(self, queue: Queue, count: int = 1, **fields: object) -> list[str]:
        """Dead-letter ``count`` new messages, and return their ids."""
        transport = await self.first()
        self.stack.push_async_callback(self.tidy, queue.name + DEAD_SUFFIX)
        messages = await self.filled(transport, queue, count, **fields)
        consumer = await self.consume(transport, queue)
        await settled(consumer, await take(consumer, count), Dead(LETTER))
        await nothing(consumer)
        await consumer.stop()
        return ids(messages)

    @clause("DEAD-1")
    async def test_a_dead_letter_leaves_its_queue(self) -> None:
        """It is in ``<queue>.dead``, which nobody declared; so is the next one."""
        transport = await self.first()
        queue = await self.queue(transport)
        buried = [*await self._buried(queue, 2), *await self._buried(queue)]
        dead = await self.consume(transport, queue.name + DEAD_SUFFIX)
        assert ids(await take(dead, 3)) == buried

    @clause("DEAD-1")
    async def test_the_dead_queue_has_the_arguments_of_its_queue(self) -> None:
        """Declaring it as `dead_queue` says agrees with what was made, and with what was there before."""
        transport = await self.first()
        for priorities in {1, (await self.capabilities(priorities=10)).priority_levels}:
            queue = await self.queue(transport, priorities=priorities)
            await self._buried(queue)
            await transport.declare(Topology(queues=[dead_queue(queue)]))
            other = await self.queue(transport, priorities=priorities)
            await self.declare(transport, Topology.of([dead_queue(other)]))
            (buried,) = await self._buried(other)
            dead = await self.consume(transport, other.name + DEAD_SUFFIX)
            assert ids(await take(dead, 1)) == [buried]

    @clause("DEAD-2", "PUB-6")
    async def test_what_a_dead_letter_says(self) -> None:
        """The message as it was, and beside the headers of its own why, when, where and who."""
        transport = await self.first()
        queue = await self.queue(transport)
        headers = {"task": "a.b", OWN_HEADER: {"crashes": 2}, "list": [1, {"two": None}]}
        before = now()
        (buried,) = await self._buried(
            queue, headers=headers, body=b"\xff\x00", exchange=queue.name, content_type="x/y", reply_to="r"
        )
        (delivery,) = await take(await self.consume(transport, queue.name + DEAD_SUFFIX), 1)
        letter = delivery.message
        assert (letter.id, letter.body, letter.content_type, letter.reply_to) == (buried, b"\xff\x00", "x/y", "r")
        said = dict(letter.headers[OWN_HEADER])
        why = dict(said.pop("dead"))
        assert {**letter.headers, OWN_HEADER: said} == headers
        at = datetime.fromisoformat(why.pop("at"))
        assert before - timedelta(seconds=1) <= at <= now() + timedelta(seconds=1)
        assert why == {
            "reason": LETTER.reason,
            "detail": LETTER.detail,
            "attempts": LETTER.attempts,
            "worker": LETTER.worker,
            "queue": queue.name,
            "exchange": queue.name,
            "routing_key": queue.name,
        }

    @clause("DEAD-3")
    async def test_a_dead_queue_is_a_queue(self) -> None:
        """It is counted, consumed, given back, peeked at and purged."""
        transport = await self.first()
        queue = await self.queue(transport)
        name = queue.name + DEAD_SUFFIX
        buried = await self._buried(queue, 3)
        await eventually(lambda: transport.depth(name), lambda depth: depth.ready == 3)
        try:
            assert ids(await transport.peek(name, 10)) == buried
        except Unsupported:
            assert not (await self.capabilities()).peek
        async with transport.consume([name], prefetch=3) as consumer:
            await settled(consumer, (await take(consumer, 3))[:1])
        await eventually(lambda: transport.depth(name), lambda depth: depth.ready == 2)
        assert await transport.purge(name) == 2
        await self.filled(transport, Queue(name), 1)
        await nothing(await self.consume(transport, queue))
        assert len(await take(await self.consume(transport, name), 1)) == 1

    @clause("DEAD-1", "DEAD-3")
    async def test_a_dead_letter_can_go_back(self) -> None:
        """Moved to its queue again, it is delivered there: that is what a replay is."""
        transport = await self.first()
        queue = await self.queue(transport)
        (buried,) = await self._buried(queue)
        dead = await self.consume(transport, queue.name + DEAD_SUFFIX)
        await settled(dead, await take(dead, 1), Move([message_to(queue, id=buried)]))
        assert ids(await take(await self.consume(transport, queue), 1)) == [buried]
        await nothing(dead)
