"""What becomes of publishes: paired returns, strange exchanges, large headers, a lost or given-up connection."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import ConfigurationError, ConnectionLost, MessageTooLarge, Unsupported
from celeriac.message import Message, Outcome, Receipt
from celeriac.testing.conformance.case import eventually, unique
from celeriac.testing.conformance.transport_case import ids, message_to, take
from celeriac.topology import Exchange, Queue, Topology
from celeriac_amqp import publishing
from celeriac_amqp.connection import Channel, Session
from celeriac_amqp.transport import AmqpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[AmqpTransport, Queue]]:
    transport = AmqpTransport([url], clock=SystemClock(), on_lost=lambda _error: None)
    await transport.open()
    queue = Queue(unique("publishing"))
    await transport.declare(Topology.of([queue]))
    try:
        yield transport, queue
    finally:
        await transport.delete(queue.name)
        await transport.close()


def test_returns_are_told_apart_from_a_thousand_others(amqp_vhost) -> None:
    """The same id to the same queue, the same id to no queue, and no id at all, all mixed."""

    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            nowhere = unique("nobody")
            ids_ = ["same", "", "same", "third"]
            messages = [
                Message(id=ids_[n % 4], routing_key=nowhere if n % 3 == 0 else queue.name, mandatory=n % 7 != 0)
                for n in range(3000)
            ]
            receipts = await transport.publish(messages)
            for n, receipt in enumerate(receipts):
                lost = n % 3 == 0 and n % 7 != 0
                assert receipt.outcome is (Outcome.RETURNED if lost else Outcome.CONFIRMED), n
            await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 2000)

    asyncio.run(body())


def test_an_unknown_exchange_harms_no_other_and_is_looked_up_once_it_is_there(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            name = unique("exchange")
            messages = [message_to(queue, exchange=name if n == 50 else "") for n in range(100)]
            receipts = await transport.publish(messages)
            assert [n for n, receipt in enumerate(receipts) if not receipt.ok] == [50]
            assert name in receipts[50].detail
            elsewhere = AmqpTransport([amqp_vhost], clock=SystemClock(), on_lost=print)
            await elsewhere.open()
            await elsewhere.declare(Topology.of([queue], [Exchange(name)]))
            await elsewhere.declare(Topology.of([Queue(queue.name, exchange=name, routing_key="k")]))
            await elsewhere.close()
            assert (await transport.publish([Message(id="x", exchange=name, routing_key="k")]))[0].ok

    asyncio.run(body())


def test_an_exchange_deleted_behind_our_back_is_survived(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            name = unique("exchange")
            await transport.declare(Topology(exchanges=[Exchange(name)]))
            async with transport.control().scratch() as channel:
                await channel.call("exchange_delete", name)
            (first,) = await transport.publish([message_to(queue, exchange=name)])
            assert first.outcome is Outcome.UNCONFIRMED
            (second,) = await transport.publish([message_to(queue, exchange=name)])
            assert second.outcome is Outcome.RETURNED
            assert (await transport.publish([message_to(queue)]))[0].ok

    asyncio.run(body())


def test_what_cannot_be_written_is_refused_before_anything_is(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost + "?max_body=1000") as (transport, queue):
            good = message_to(queue)
            for bad, error in [
                (message_to(queue, headers={"h": "x" * 70_000}), MessageTooLarge),
                (message_to(queue, body=b"x" * 1001), MessageTooLarge),
                (message_to(queue, headers={"h": 2**63}), ConfigurationError),
                (message_to(queue, headers={"h": object()}), ConfigurationError),
                (message_to(queue, priority=1), Unsupported),
                (message_to(queue, correlation_id="x" * 256), ConfigurationError),
            ]:
                with pytest.raises(error):
                    await transport.publish([good, bad])
            large = message_to(queue, headers={"h": "x" * 65_000}, body=b"x" * 1000)
            assert (await transport.publish([large]))[0].ok
            async with transport.consume([queue.name], prefetch=10) as consumer:
                (delivery,) = await take(consumer, 1)
                assert delivery.message.headers == large.headers
            await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 1)

    asyncio.run(body())


def test_a_body_of_many_frames(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            content = bytes(range(256)) * 4096 * 8  # 8 MiB
            await transport.publish([message_to(queue, body=content), message_to(queue, body=b"")])
            async with transport.consume([queue.name], prefetch=10) as consumer:
                large, empty = await take(consumer, 2)
                assert large.message.body == content
                assert empty.message.body == b""

    asyncio.run(body())


def test_losing_the_out_connection_is_no_loss_of_the_transport(amqp_vhost) -> None:
    async def body() -> None:
        lost: list[Exception] = []
        async with opened(amqp_vhost) as (transport, queue):
            transport.on_lost = lost.append
            async with transport.consume([queue.name], prefetch=1) as consumer:
                await transport.publish([message_to(queue)])
                held = await take(consumer, 1)
                many = [message_to(queue) for _ in range(150)]
                under_way = asyncio.ensure_future(transport.publish(many))
                await _under_way(transport)
                transport._publisher._session.abort("test")
                receipts = await under_way
                assert {receipt.outcome for receipt in receipts} <= {Outcome.UNCONFIRMED, Outcome.CONFIRMED}
                assert receipts[-1].outcome is Outcome.UNCONFIRMED
                assert (await transport.publish([message_to(queue)]))[0].ok
                assert await consumer.extend(held) == [True]
            assert not lost

    asyncio.run(body())


async def _under_way(transport: AmqpTransport) -> None:
    """Return in the very turn of the loop that has written something."""
    while not transport._publisher._unanswered:  # noqa: ASYNC110 - no event tells of the turn that wrote
        await asyncio.sleep(0)


def test_cancelling_a_publish_on_a_healthy_connection_harms_nobody(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            await transport.publish([message_to(queue)])
            session = transport._publisher._session
            others = [asyncio.ensure_future(transport.publish([message_to(queue)])) for _ in range(20)]
            many = [message_to(queue) for _ in range(1000)]
            cancelled = asyncio.ensure_future(transport.publish(many))
            await _under_way(transport)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            assert all(receipts[0].ok for receipts in await asyncio.gather(*others))
            assert (await transport.publish([message_to(queue)]))[0].ok
            assert transport._publisher._session is session

    asyncio.run(body())


def test_giving_up_a_publish_that_stalls_resets_the_connection(amqp_vhost, monkeypatch) -> None:
    """Without an alarm: the broker reads nothing because its end of the link is gone quiet."""
    monkeypatch.setattr(publishing, "STALLED", 0.2)

    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            await transport.publish([message_to(queue)])
            session = transport._publisher._session
            session.raw.flush = lambda: None  # nothing we write leaves any more
            given_up = asyncio.ensure_future(transport.publish([message_to(queue)]))
            neighbour = asyncio.ensure_future(transport.publish([message_to(queue)]))
            await asyncio.sleep(0.3)
            given_up.cancel()
            await asyncio.wait([given_up])
            (receipt,) = await asyncio.wait_for(neighbour, 2)
            assert receipt.outcome is Outcome.UNCONFIRMED
            assert (await transport.publish([message_to(queue)]))[0].ok
            assert session.error is not None
            await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 2)

    asyncio.run(body())


def test_a_channel_that_only_nacks_has_stalled(amqp_vhost) -> None:
    """One that has lost its queue's leader may nack on, slowly, and ack nothing any more; a new one does."""

    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            publisher = transport._publisher
            await transport.publish([message_to(queue)])
            session = publisher._session
            session.raw.flush = lambda: None
            nacked, given_up = (asyncio.ensure_future(transport.publish([message_to(queue)])) for _ in range(2))
            while len(publisher._unanswered) < 2:  # noqa: ASYNC110 - as `_under_way`
                await asyncio.sleep(0)
            publisher._progress -= publishing.STALLED
            publisher._on_confirm(min(publisher._unanswered), False, Receipt(Outcome.NACKED, "no leader"))
            assert [receipt.outcome for receipt in await nacked] == [Outcome.NACKED]
            given_up.cancel()
            await asyncio.wait([given_up])
            assert publisher._session is None
            assert (await transport.publish([message_to(queue)]))[0].ok
            assert session.error is not None

    asyncio.run(body())


def test_a_delay_through_a_topic_exchange_goes_to_each_queue_once(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, _):
            exchange = Exchange(unique("topic"), "topic")
            queues = [Queue(unique("bulk"), exchange, "a.#"), Queue(unique("bulk"), exchange, "*.b")]
            await transport.declare(Topology.of(queues))
            due = datetime.now(UTC) + timedelta(seconds=1.2)
            message = message_to("a.b", exchange=exchange.name, not_before=due, headers={"k": [1.5, b"\xff"]})
            assert (await transport.publish([message]))[0].ok
            for queue in queues:
                async with transport.consume([queue.name], prefetch=5) as consumer:
                    (delivery,) = await take(consumer, 1)
                    assert datetime.now(UTC) >= due
                    assert ids([delivery]) == [message.id]
                    assert (delivery.message.exchange, delivery.message.routing_key) == (exchange.name, "a.b")
                    assert delivery.message.headers == message.headers
                    assert not await consumer.receive(1, 0.2)
                await transport.delete(queue.name)

    asyncio.run(body())


def test_a_delay_does_not_come_to_a_queue_whose_name_ends_alike(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, short):
            long = Queue("bulk." + short.name)
            await transport.declare(Topology.of([long]))
            soon = datetime.now(UTC) + timedelta(seconds=1)
            sent = [message_to(queue, not_before=soon) for queue in (short, long)]
            assert all(receipt.ok for receipt in await transport.publish(sent))
            for queue, message in zip((long, short), reversed(sent), strict=True):
                async with transport.consume([queue.name], prefetch=5) as consumer:
                    assert ids(await take(consumer, 1)) == [message.id]
                    assert not await consumer.receive(1, 0.2)
            await transport.delete(long.name)

    asyncio.run(body())


def test_a_delay_through_an_exchange_of_others_is_unsupported(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            due = datetime.now(UTC) + timedelta(seconds=60)
            with pytest.raises(Unsupported, match=r"amq\.topic"):
                await transport.publish([message_to(queue, exchange="amq.topic", not_before=due)])

    asyncio.run(body())


@pytest.mark.parametrize("exchange", ["", "a topic"])
@pytest.mark.parametrize("delayed", [False, True])
def test_a_channel_that_opens_slower_than_any_caller_waits(amqp_vhost, monkeypatch, exchange, delayed) -> None:
    """As on a node whose neighbour has vanished, five seconds each: who leaves does not make the next begin anew."""
    opening: list[Session] = []

    async def body() -> None:
        gate, channel = asyncio.Event(), Session.channel

        async def slow(session: Session) -> Channel:
            opening.append(session)
            await gate.wait()
            return await channel(session)

        async with opened(amqp_vhost) as (transport, queue):
            if exchange:
                topology = Topology.of(
                    [Queue(queue.name, exchange=Exchange(exchange, "topic"), routing_key=queue.name)]
                )
                await transport.declare(topology)
                transport._publisher._verified = {""}  # as after the loss of its channel
            later = datetime.now(UTC) + timedelta(seconds=1) if delayed else None
            message = Message(id="one", exchange=exchange, routing_key=queue.name, not_before=later)
            with monkeypatch.context() as patch:
                patch.setattr(Session, "channel", slow)
                for _ in range(3):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await transport.publish([message])
                assert len(opening) == 1, "each caller has begun anew"
                gate.set()
                (receipt,) = await transport.publish([message])
            assert receipt.outcome is Outcome.CONFIRMED
            await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 1)

    asyncio.run(body())


def test_who_waits_for_a_channel_when_the_transport_closes_is_told(amqp_vhost, monkeypatch) -> None:
    async def body() -> None:
        begun = asyncio.Event()

        async def never(_session: Session) -> Channel:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        transport = AmqpTransport([amqp_vhost], clock=SystemClock(), on_lost=lambda _error: None)
        await transport.open()
        monkeypatch.setattr(Session, "channel", never)
        publishing = asyncio.create_task(transport.publish([Message(id="one", routing_key="anywhere")]))
        await begun.wait()
        await transport.close()
        with pytest.raises(ConnectionLost, match="closed"):
            await publishing

    asyncio.run(body())
