"""Topology: what `declare` makes, and where messages go."""

from __future__ import annotations

import pytest

from celeriac.errors import QueueNotFound, TopologyMismatch
from celeriac.message import Outcome
from celeriac.testing.conformance.case import unique
from celeriac.testing.conformance.clauses import clause, requires
from celeriac.testing.conformance.transport_case import TransportCase, ids, message_to, nothing, settled, take
from celeriac.topology import Binding, Exchange, Queue, Topology

ROUTED = {
    "direct": [("a.b", "a.b", True), ("a.b", "a.c", False), ("a.*", "a.b", False), ("", "", True)],
    "topic": [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("a.#", "ab", False),
        ("#", "any.thing", True),
        ("#", "", True),
        ("#.c", "a.b.c", True),
        ("a.#.c", "a.c", True),
        ("a+b", "aab", False),
    ],
    "fanout": [("a", "b", True), ("", "anything", True)],
}


class TopologyTests(TransportCase):
    """Clauses TOP-*."""

    async def _routes(self, kind: str) -> None:
        transport = await self.first()
        queues = [Queue(unique("kit")) for _ in ROUTED[kind]]
        exchanges = [Exchange(unique("kit-x"), kind) for _ in ROUTED[kind]]  # type: ignore[arg-type]
        bindings = [
            Binding(exchange.name, queue.name, bound)
            for exchange, queue, (bound, _, _) in zip(exchanges, queues, ROUTED[kind], strict=True)
        ]
        await self.declare(transport, Topology(exchanges, queues, bindings))
        for exchange, queue, (bound, key, taken) in zip(exchanges, queues, ROUTED[kind], strict=True):
            message = message_to(key, exchange=exchange.name)
            (receipt,) = await transport.publish([message])
            expected = Outcome.CONFIRMED if taken else Outcome.RETURNED
            assert receipt.outcome is expected, f"{kind} binding {bound!r}, key {key!r}: {receipt}"
            if taken:
                consumer = await self.consume(transport, queue, prefetch=1)
                assert ids(await take(consumer, 1)) == [message.id]

    @clause("TOP-1")
    async def test_declaring_again_changes_and_loses_nothing(self) -> None:
        """Declare, fill, declare again from here and from another transport."""
        transport = await self.first()
        topology = Topology.of([Queue(unique("kit"))])
        await self.declare(transport, topology)
        messages = await self.filled(transport, topology.queues[0], 3)
        await transport.declare(topology)
        await (await self.open()).declare(topology)
        consumer = await self.consume(transport, topology.queues[0])
        assert ids(await take(consumer, 3)) == ids(messages)

    @clause("TOP-2")
    async def test_direct_routes_by_the_exact_key(self) -> None:
        """A direct exchange knows no patterns."""
        await self._routes("direct")

    @clause("TOP-3")
    async def test_topic_routes_by_words(self) -> None:
        """``*`` is one word, ``#`` none or more, and nothing else is special."""
        await self._routes("topic")

    @clause("TOP-4")
    async def test_fanout_routes_to_all(self) -> None:
        """A fanout exchange ignores the key, and reaches each of several queues."""
        await self._routes("fanout")
        transport = await self.first()
        exchange = Exchange(unique("kit-x"), "fanout")
        queues = [Queue(unique("kit"), exchange=exchange) for _ in range(3)]
        await self.declare(transport, Topology.of(queues))
        message = message_to("", exchange=exchange.name)
        assert (await transport.publish([message]))[0].ok
        for queue in queues:
            consumer = await self.consume(transport, queue)
            assert ids(await take(consumer, 1)) == [message.id]

    @clause("TOP-5")
    async def test_the_default_exchange_routes_to_the_queue_named(self) -> None:
        """A queue that was declared without any binding is reached by its name."""
        transport = await self.first()
        queue = Queue(unique("kit"))
        await self.declare(transport, Topology(queues=[queue]))
        messages = await self.filled(transport, queue, 1)
        consumer = await self.consume(transport, queue)
        assert ids(await take(consumer, 1)) == ids(messages)

    @clause("TOP-6")
    async def test_once_from_each_queue(self) -> None:
        """Two matching bindings of one queue are one delivery; two queues are two, settled apart."""
        transport = await self.first()
        exchange = Exchange(unique("kit-x"), "topic")
        one, other = Queue(unique("kit")), Queue(unique("kit"))
        bindings = [Binding(exchange.name, one.name, key) for key in ("a.#", "*.b")]
        await self.declare(
            transport, Topology([exchange], [one, other], [*bindings, Binding(exchange.name, other.name, "#")])
        )
        message = message_to("a.b", exchange=exchange.name)
        assert (await transport.publish([message]))[0].ok
        first = await self.consume(transport, one)
        await settled(first, await take(first, 1))
        await nothing(first)
        second = await self.consume(transport, other)
        assert ids(await take(second, 1)) == [message.id]

    @clause("TOP-7")
    async def test_a_queue_is_never_altered(self) -> None:
        """Other arguments are refused by name, and what is in the queue stays."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 1)
        other = Queue(queue.name, arguments={"x-max-length": 100_000})
        with pytest.raises(TopologyMismatch, match=queue.name) as raised:
            await transport.declare(Topology.of([other]))
        assert "x-max-length" in str(raised.value), "the error names the argument"
        await transport.declare(Topology.of([queue]))
        consumer = await self.consume(transport, queue)
        assert ids(await take(consumer, 1)) == ids(messages)

    @clause("TOP-7")
    @requires("priority_levels")
    async def test_the_number_of_priorities_is_never_altered(self) -> None:
        """A queue cannot be given priorities afterwards."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 1)
        with pytest.raises(TopologyMismatch, match=queue.name):
            await transport.declare(Topology.of([Queue(queue.name, priorities=10)]))
        consumer = await self.consume(transport, queue)
        assert ids(await take(consumer, 1)) == ids(messages)

    @clause("TOP-8")
    async def test_an_exchange_is_never_altered(self) -> None:
        """Another type is refused by name, and the exchange routes as before."""
        transport = await self.first()
        queue = await self.queue(transport)
        with pytest.raises(TopologyMismatch, match=queue.name):
            await transport.declare(Topology(exchanges=[Exchange(queue.name, "fanout")]))
        receipts = await transport.publish([message_to("elsewhere", exchange=queue.name)])
        assert receipts[0].outcome is Outcome.RETURNED

    @clause("TOP-9")
    async def test_passive_makes_nothing(self) -> None:
        """What is missing is named, and still missing afterwards; what is there is found."""
        transport = await self.first()
        queue = await self.queue(transport)
        await transport.declare(Topology.of([queue], mode="passive"))
        missing = Queue(unique("kit"), exchange=queue.bound_exchange)
        with pytest.raises(TopologyMismatch, match=missing.name):
            await transport.declare(Topology(queues=[missing], mode="passive"))
        with pytest.raises(QueueNotFound):
            await transport.depth(missing.name)
        exchange = Exchange(unique("kit-x"))
        with pytest.raises(TopologyMismatch, match=exchange.name):
            await transport.declare(Topology([exchange], mode="passive"))
        await self.filled(transport, queue, 1)

    @clause("TOP-9")
    async def test_never_asks_nothing(self) -> None:
        """What is missing is neither made nor missed."""
        transport = await self.first()
        queue = Queue(unique("kit"))
        await transport.declare(Topology.of([queue], mode="never"))
        with pytest.raises(QueueNotFound):
            await transport.depth(queue.name)
