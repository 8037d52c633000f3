"""aio-pika, which shares no code with us, reads what we publish; we deliver what it publishes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import aio_pika
import pytest

from celeriac.clock import SystemClock
from celeriac.errors import TopologyMismatch
from celeriac.message import Message
from celeriac.testing.conformance.case import unique
from celeriac.testing.conformance.transport_case import settled, take
from celeriac.topology import Queue, Topology
from celeriac_amqp.transport import AmqpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEADERS = {
    "text": "snow ☃",
    "empty": "",
    "none": None,
    "yes": True,
    "no": False,
    "zero": 0,
    "int": 2**31 - 1,
    "long": -(2**62),
    "float": 1.5,
    "bytes": b"\x00\xff",
    "list": [1, "a", None, [2.25]],
    "table": {"deep": {"deeper": [{}]}},
}


@asynccontextmanager
async def both(
    url: str, query: str = "", **options: object
) -> AsyncIterator[tuple[AmqpTransport, aio_pika.abc.AbstractChannel, Queue]]:
    transport = AmqpTransport([url + query], clock=SystemClock(), on_lost=lambda _error: None)
    await transport.open()
    queue = Queue(unique("interop"), **options)
    witness = await aio_pika.connect(url)
    try:
        yield transport, await witness.channel(), queue
    finally:
        await transport.delete(queue.name)
        await transport.close()
        await witness.close()


def test_the_witness_reads_what_we_publish(amqp_vhost) -> None:
    async def body() -> None:
        async with both(amqp_vhost) as (transport, channel, queue):
            await transport.declare(Topology.of([queue]))
            message = Message(
                id="the-id",
                exchange=queue.name,
                routing_key=queue.name,
                body=b"\x00body",
                content_type="application/json",
                content_encoding="utf-8",
                headers=HEADERS,
                correlation_id="c",
                reply_to="r",
            )
            task = Message(id="t", routing_key=queue.name, headers={"id": "t", "task": "a.b"})
            await transport.publish([message, task])
            theirs = await channel.get_queue(queue.name)
            seen = await theirs.get()
            assert seen.body == b"\x00body"
            assert seen.headers == {**HEADERS, "x-delivery-count": 0}, "as the quorum queue counts"
            assert (seen.content_type, seen.content_encoding) == ("application/json", "utf-8")
            assert (seen.message_id, seen.correlation_id, seen.reply_to) == ("the-id", "c", "r")
            assert (seen.delivery_mode, seen.priority, seen.expiration) == (2, 0, None)
            seen_task = await theirs.get()
            assert seen_task.message_id is None, "Celery's form: the id stands in its header"
            assert seen_task.headers["id"] == "t"
            await seen.ack()
            await seen_task.ack()

    asyncio.run(body())


def test_we_deliver_what_the_witness_publishes(amqp_vhost) -> None:
    async def body() -> None:
        async with both(amqp_vhost) as (transport, channel, queue):
            await transport.declare(Topology.of([queue]))
            publish = channel.default_exchange.publish
            moment = datetime(2030, 1, 2, tzinfo=UTC)
            foreign = {**HEADERS, "when": moment, "decimal": Decimal("1.5"), "bytes": bytearray(b"\x00\xff")}
            await publish(
                aio_pika.Message(
                    b"full", headers=foreign, priority=7, expiration=60, message_id="m", app_id="x", type="y"
                ),
                queue.name,
            )
            await publish(aio_pika.Message(b"bare"), queue.name)
            async with transport.consume([queue.name], prefetch=10) as consumer:
                full, bare = deliveries = await take(consumer, 2)
                assert full.message.headers == foreign
                assert (full.message.id, full.message.body) == ("m", b"full")
                assert full.message.priority == 0, "the queue keeps none"
                empty = bare.message
                assert (empty.content_type, empty.content_encoding, empty.headers) == ("", "", {})
                assert (empty.correlation_id, empty.reply_to) == (None, None)
                await settled(consumer, deliveries)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({}, {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}),
        ({"priorities": 10}, {"x-queue-type": "classic", "x-max-priority": 9}),
        ({"arguments": {"x-queue-type": "classic"}}, {"x-queue-type": "classic"}),
    ],
)
def test_queues_are_declared_with_exactly_the_frozen_arguments(amqp_vhost, fields, arguments) -> None:
    async def body() -> None:
        async with both(amqp_vhost, **fields) as (transport, channel, queue):
            await transport.declare(Topology.of([queue]))
            await channel.declare_queue(queue.name, durable=True, arguments=arguments)
            for wrong in ({}, {**arguments, "x-max-length": 7}):
                if wrong or arguments != {"x-queue-type": "classic"}:
                    other = await channel._connection.channel()
                    with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
                        await other.declare_queue(queue.name, durable=True, arguments=wrong)

    asyncio.run(body())


def test_a_plain_queue_is_declared_as_celery_does_and_taken_as_it_is(amqp_vhost) -> None:
    async def body() -> None:
        async with both(amqp_vhost, "?fleet=celery") as (transport, channel, queue):
            await transport.declare(Topology.of([queue]))
            await channel.declare_queue(queue.name, durable=True)
            other = Queue(unique("interop"))
            await channel.declare_queue(other.name, durable=True, arguments={"x-max-length": 5})
            await transport.declare(Topology.of([other]))
            assert (await transport.publish([Message(id="x", exchange=other.name, routing_key=other.name)]))[0].ok
            with pytest.raises(TopologyMismatch, match="x-max-length"):
                await transport.declare(Topology.of([Queue(other.name, arguments={"x-max-length": 6})]))
            await transport.delete(other.name)

    asyncio.run(body())
