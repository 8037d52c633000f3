"""Publishing: receipts that tell the truth, and messages that arrive whole and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from celeriac.errors import MessageTooLarge, TransportError
from celeriac.message import Message, Outcome
from celeriac.testing.conformance.case import unique
from celeriac.testing.conformance.clauses import clause
from celeriac.testing.conformance.transport_case import TransportCase, ids, message_to, nothing, settled, take, take_all
from celeriac.topology import Exchange, Queue, Topology

HEADERS = {
    "nothing": None,
    "yes": True,
    "no": False,
    "int": -5,
    "long": 2**40,
    "float": 0.1,
    "text": "žluťoučký ☃ 🐎",
    "empty": "",
    "bytes": b"\x00\xff\x80",
    "list": [1, "two", None, [3.5, {"four": b"\xfe"}]],
    "table": {"nested": {"deep": [True, False]}, "empty": {}},
    "none of it": [],
}


class PublishTests(TransportCase):
    """Clauses PUB-*."""

    @clause("PUB-1", "PUB-2")
    async def test_receipts_in_order(self) -> None:
        """Of routable and unroutable messages mixed, just the unroutable are returned."""
        transport = await self.first()
        queue = await self.queue(transport)
        missing = unique("nobody")
        messages = [message_to(missing if number % 3 == 1 else queue) for number in range(12)]
        receipts = await transport.publish(messages)
        assert [r.outcome is Outcome.RETURNED for r in receipts] == [m.routing_key == missing for m in messages]
        routed = [message for message in messages if message.routing_key != missing]
        assert [r.ok for r in receipts].count(True) == len(routed)
        consumer = await self.consume(transport, queue)
        assert ids(await take_all(consumer)) == ids(routed)

    @clause("PUB-1")
    async def test_confirmed_is_owned(self) -> None:
        """What is confirmed is there for another transport, once the publisher is closed."""
        publisher, transport = await self.open(), await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(publisher, queue, 50)
        await publisher.close()
        assert ids(await take(await self.consume(transport, queue), 50)) == ids(messages)

    @clause("PUB-3")
    async def test_not_mandatory_and_unroutable_is_confirmed(self) -> None:
        """It is gone: a queue declared afterwards does not get it."""
        transport = await self.first()
        queue = Queue(unique("kit"))
        await self.declare(transport, Topology(exchanges=[Exchange(queue.name)]))
        for exchange in ("", queue.name):
            (receipt,) = await transport.publish([message_to(queue, exchange=exchange, mandatory=False)])
            assert receipt.ok, f"exchange {exchange!r}: {receipt}"
        await self.declare(transport, Topology.of([queue]))
        await nothing(await self.consume(transport, queue))

    @clause("PUB-4")
    async def test_an_unknown_exchange_is_returned(self) -> None:
        """Mandatory or not, and the messages around it arrive."""
        transport = await self.first()
        queue = await self.queue(transport)
        nowhere = unique("nobody")
        odd = [message_to(queue, exchange=nowhere, mandatory=mandatory) for mandatory in (True, False)]
        good = [message_to(queue) for _ in range(3)]
        receipts = await transport.publish([good[0], odd[0], good[1], odd[1], good[2]])
        assert [r.outcome is Outcome.RETURNED for r in receipts] == [False, True, False, True, False], receipts
        assert all(receipts[index].ok for index in (0, 2, 4))
        assert ids(await take(await self.consume(transport, queue), 3)) == ids(good)

    @clause("PUB-5", "CAP-2")
    async def test_raising_means_nothing_was_written(self) -> None:
        """A message that cannot be sent makes the call raise before the good ones beside it are sent."""
        transport = await self.first()
        queue = await self.queue(transport)
        levels = transport.capabilities(queue).priority_levels
        with pytest.raises(TransportError):
            await transport.publish([message_to(queue), message_to(queue, priority=levels), message_to(queue)])
        await self.refused(transport, queue)

    @clause("PUB-6")
    async def test_what_arrives_is_what_was_sent(self) -> None:
        """Every field, every type of header, and bodies from nothing to half a mebibyte."""
        transport = await self.first()
        queue = await self.queue(transport)
        for body in (b"", bytes(range(256)), b"x" * 2**19):
            sent = Message(
                id=unique("m"),
                exchange=queue.name,
                routing_key=queue.name,
                body=body,
                content_type="application/x-kit",
                content_encoding="utf-8",
                headers=HEADERS,
                correlation_id=unique("c"),
                reply_to=unique("r"),
            )
            assert (await transport.publish([sent]))[0].ok
            consumer = await self.consume(transport, queue, prefetch=1)
            (delivery,) = await take(consumer, 1)
            _same(delivery.message, sent)
            await consumer.stop()

    @clause("PUB-11", "PUB-5")
    async def test_a_large_message_arrives_or_is_refused(self) -> None:
        """Larger and larger ones each arrive whole, or raise `MessageTooLarge` before anything is written."""
        transport = await self.first()
        queue = await self.queue(transport)
        consumer = await self.consume(transport, queue)
        for size in (2**20, 2**22, 2**24):
            small, large = message_to(queue), message_to(queue, body=b"x" * size)
            try:
                receipts = await transport.publish([small, large])
            except MessageTooLarge:
                await nothing(consumer)
                break
            assert all(receipt.ok for receipt in receipts)
            taken = await take(consumer, 2)
            assert [len(delivery.message.body) for delivery in taken] == [len(small.body), size]
            await settled(consumer, taken)
        await self.filled(transport, queue, 1)
        assert len(await take(consumer, 1)) == 1, "the transport still works"

    @clause("PUB-6")
    async def test_what_was_not_said_is_not_invented(self) -> None:
        """A message without reply address and correlation arrives without them, and with its defaults."""
        transport = await self.first()
        queue = await self.queue(transport)
        (sent,) = await self.filled(transport, queue, 1)
        (delivery,) = await take(await self.consume(transport, queue), 1)
        _same(delivery.message, sent)

    @clause("PUB-6")
    async def test_a_broker_shares_no_memory(self) -> None:
        """Changing the headers of what was published or delivered changes nothing in the broker."""
        transport = await self.first()
        queue = await self.queue(transport)
        headers = {"table": {"list": [1]}}
        await self.filled(transport, queue, 1, headers=headers)
        headers["table"]["list"].append(2)
        async with transport.consume([queue.name], prefetch=1) as consumer:
            (delivery,) = await take(consumer, 1)
            assert delivery.message.headers == {"table": {"list": [1]}}
            delivery.message.headers["table"]["list"].append(3)
        (again,) = await take(await self.consume(transport, queue), 1)
        assert again.message.headers == {"table": {"list": [1]}}

    @clause("PUB-7")
    async def test_order(self) -> None:
        """Messages of one call and of several calls keep their order."""
        transport = await self.first()
        queue = await self.queue(transport)
        sent = [message for _ in range(5) for message in await self.filled(transport, queue, 20)]
        assert ids(await take(await self.consume(transport, queue), 100)) == ids(sent)

    @clause("PUB-8")
    async def test_cancelling_leaves_no_half(self) -> None:
        """Wherever it is cancelled: each message is there whole or not at all, once, and the next publish works."""
        transport = await self.first()
        queue = await self.queue(transport)
        sent: dict[str, Message] = {}
        for turns in range(12):
            messages = [message_to(queue, body=bytes([turns]) * 20_000) for _ in range(3)]
            sent |= {message.id: message for message in messages}
            publishing = asyncio.ensure_future(transport.publish(messages))
            for _ in range(turns):
                await asyncio.sleep(0)
            publishing.cancel()
            await asyncio.wait([publishing])
        (last,) = await self.filled(transport, queue, 1)
        arrived = await take_all(await self.consume(transport, queue))
        assert ids(arrived)[-1] == last.id
        assert len(set(ids(arrived))) == len(arrived), "a message arrived twice"
        assert all(delivery.message.body == sent[delivery.message.id].body for delivery in arrived[:-1])

    @clause("PUB-9")
    async def test_concurrent_publishes(self) -> None:
        """Each caller gets its own receipts, and many at once take no longer than one after the other."""
        transport = await self.first()
        queue = await self.queue(transport)
        loop = asyncio.get_running_loop()
        count = 20
        started = loop.time()
        for _ in range(count):
            await self.filled(transport, queue, 1)
        one_by_one = loop.time() - started
        calls = [[message_to(queue)] if number % 2 else [message_to(unique("nobody"))] for number in range(count)]
        started = loop.time()
        answers = await asyncio.gather(*(transport.publish(call) for call in calls))
        together = loop.time() - started
        assert [receipts[0].outcome for receipts in answers] == [Outcome.RETURNED, Outcome.CONFIRMED] * (count // 2)
        # below half a second the machine's own moods are larger than what is looked for
        assert together < max(0.5, 0.75 * one_by_one), f"{together:.2f} s together, {one_by_one:.2f} s one by one"

    @clause("PUB-10")
    async def test_nothing_to_publish(self) -> None:
        """An empty call has an empty answer."""
        assert list(await (await self.first()).publish([])) == []


def _same(arrived: Message, sent: Message) -> None:
    for name in (
        "id",
        "exchange",
        "routing_key",
        "body",
        "content_type",
        "content_encoding",
        "priority",
        "correlation_id",
        "reply_to",
    ):
        assert getattr(arrived, name) == getattr(sent, name), name
    assert _typed(arrived.headers) == _typed(sent.headers)


def _typed(value: object) -> object:
    """Return ``value`` with the type of each scalar beside it: ``True == 1`` hides a header that was changed."""
    if isinstance(value, Mapping):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_typed(item) for item in value]
    return (type(value).__name__, value)
