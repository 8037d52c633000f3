"""What RabbitMQ does to those who hold for long, publish under an alarm, or are there when it goes down."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import ConnectionLost
from celeriac.message import Dead, DeadLetter, Message, Requeue, Settlement, SettleReceipt
from celeriac.testing.conformance.case import eventually, unique
from celeriac.testing.conformance.transport_case import ids, message_to, nothing, settled, take
from celeriac.topology import Queue, Topology
from celeriac_amqp.transport import AmqpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONSUMER_TIMEOUT = 4.0  # the node's


@asynccontextmanager
async def opened(url: str, **events: object) -> AsyncIterator[AmqpTransport]:
    transport = AmqpTransport([url], clock=SystemClock(), on_lost=events.get("on_lost", lambda _error: None))
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


async def declared(transport: AmqpTransport, **fields: object) -> Queue:
    queue = Queue(unique("torment"), **fields)
    await transport.declare(Topology.of([queue]))
    return queue


@pytest.mark.parametrize("fields", [{}, {"priorities": 10}])
def test_a_hold_far_beyond_the_timeout_is_one_delivery(amqp_node, fields) -> None:
    async def body() -> None:
        async with opened(amqp_node.url + "?hold_limit=1") as transport, opened(amqp_node.url) as other:
            queue = await declared(transport, **fields)
            sent = [message_to(queue, exchange=queue.name, headers={"n": n}, priority=0) for n in range(4)]
            await transport.publish(sent)
            async with transport.consume([queue.name], prefetch=2) as consumer:
                held = await take(consumer, 2)
                async with other.consume([queue.name], prefetch=5) as rival:
                    # the rival is handed the rest, and it must stay all that he sees
                    rest = await take(rival, 2)
                    assert ids(rest) == ids(sent[2:])
                    await settled(rival, rest)
                    for _ in range(int(3 * CONSUMER_TIMEOUT)):
                        await asyncio.sleep(0.9)
                        assert list(await consumer.extend(held)) == [True, True]
                        assert not await rival.receive(1, 0.0)
                    assert await consumer.check()
                    more = [message_to(queue) for _ in range(4)]
                    await transport.publish(more)
                    assert {*ids(await take(rival, 4))} == {*ids(more)}, "prefetch counts what was moved"
                    await settled(consumer, held)
                    with pytest.raises(ValueError, match="settled before"):
                        await consumer.settle([Settlement(held[0].token)])
            await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 4)
            await transport.delete(queue.name)

    asyncio.run(body())


def test_without_renewal_the_broker_takes_it_back_and_the_consumer_goes_on(amqp_node) -> None:
    async def body() -> None:
        async with opened(amqp_node.url) as transport:
            queue, calm = await declared(transport), await declared(transport)
            (message,) = sent = [message_to(queue)]
            await transport.publish([*sent, message_to(calm)])
            async with transport.consume([queue.name, calm.name], prefetch=2) as consumer:
                held = {delivery.queue: delivery for delivery in await take(consumer, 2)}
                await settled(consumer, [held[calm.name]])
                (again,) = await take(consumer, 1, within=3 * CONSUMER_TIMEOUT)
                assert (again.message.id, again.redelivered) == (message.id, True)
                receipts = await consumer.settle([Settlement(held[queue.name].token), Settlement(again.token)])
                assert list(receipts) == [SettleReceipt.LOST, SettleReceipt.SENT]
                await transport.publish([message_to(calm)])
                assert (await take(consumer, 1))[0].queue == calm.name

    asyncio.run(body())


@pytest.mark.parametrize("action", [Requeue(), Dead(DeadLetter(reason="torment")), "leave"])
def test_what_was_moved_can_be_settled_otherwise(amqp_node, action) -> None:
    async def body() -> None:
        async with opened(amqp_node.url + "?hold_limit=1") as transport:
            queue = await declared(transport)
            message = message_to(queue, exchange=queue.name, headers={"kept": 1})
            await transport.publish([message])
            async with transport.consume([queue.name], prefetch=1) as consumer:
                held = await take(consumer, 1)
                await asyncio.sleep(1.1)
                assert list(await consumer.extend(held)) == [True]
                if action != "leave":
                    await settled(consumer, held, action)
                    await consumer.stop()
            where = queue.name + ".dead" if isinstance(action, Dead) else queue.name
            async with transport.consume([where], prefetch=1) as consumer:
                (again,) = await take(consumer, 1)
                assert again.message.id == message.id
                assert again.message.headers["kept"] == 1
                assert again.message.exchange == ("" if isinstance(action, Dead) else queue.name)
                await settled(consumer, [again])
                await nothing(consumer)

    asyncio.run(body())


def test_a_worker_that_dies_with_a_moved_delivery(amqp_node, monkeypatch) -> None:
    monkeypatch.setattr("celeriac_amqp.holds.LEASE", 2.0)

    async def body() -> None:
        async with opened(amqp_node.url) as other:
            queue = await declared(other)
            (message,) = [message_to(queue)]
            await other.publish([message])
            async with (
                opened(amqp_node.url + "?hold_limit=1") as transport,
                transport.consume([queue.name], prefetch=1) as consumer,
            ):
                held = await take(consumer, 1)
                await asyncio.sleep(1.1)
                assert list(await consumer.extend(held)) == [True]
                await asyncio.sleep(2.1)
                for session in (transport.control(), transport._publisher._session):
                    session.abort("killed")
                async with other.consume([queue.name], prefetch=1) as rival:
                    (again,) = await take(rival, 1, within=3)
                    assert again.message.id == message.id
                    await settled(rival, [again])
                    await nothing(rival, 1.0)

    asyncio.run(body())


def test_under_a_memory_alarm_acks_go_through_and_what_is_given_up_stays_unsent(amqp_node) -> None:
    async def body() -> None:
        async with opened(amqp_node.url) as transport:
            queue, target = await declared(transport), await declared(transport)
            await transport.publish([message_to(queue), message_to(queue)])
            async with transport.consume([queue.name], prefetch=2) as consumer:
                held = await take(consumer, 2)
                amqp_node.control("set_vm_memory_high_watermark", "0.00001")
                try:
                    given_up = asyncio.ensure_future(transport.publish([message_to(target)]))
                    neighbour = asyncio.ensure_future(transport.publish([message_to(target)]))
                    await eventually(_is_blocked(transport), bool)
                    given_up.cancel()
                    (receipt,) = await asyncio.wait_for(neighbour, 2)
                    assert receipt.outcome.value == "unconfirmed"
                    await settled(consumer, held)
                    await asyncio.to_thread(_no_messages, amqp_node, queue.name)
                finally:
                    amqp_node.control("set_vm_memory_high_watermark", "0.4")
                confirmed = message_to(target)
                assert (await transport.publish([confirmed]))[0].ok
            async with transport.consume([target.name], prefetch=5) as consumer:
                assert ids(await take(consumer, 1)) == [confirmed.id]
                await nothing(consumer)

    asyncio.run(body())


def _is_blocked(transport: AmqpTransport):
    async def look() -> bool:
        return transport._publisher._session is not None and transport._publisher._session.blocked

    return look


def _no_messages(node, queue: str) -> None:
    # asked of the broker itself: a connection that has published could not ask
    node.control(
        "eval",
        f'Q = rabbit_misc:r(<<"/">>, queue, <<"{queue}">>), {{ok, {{ok, 0, _}}}} = '
        "{ok, rabbit_amqqueue:with(Q, fun(A) -> rabbit_amqqueue:stat(A) end)}, ok.",
    )


def test_a_broker_that_goes_and_comes_back(amqp_node) -> None:
    async def body() -> None:
        losses: list[Exception] = []
        async with opened(amqp_node.url, on_lost=losses.append) as transport:
            queue = await declared(transport)
            sent = [message_to(queue) for _ in range(3)]
            await transport.publish(sent)
            async with transport.consume([queue.name], prefetch=1) as consumer:
                (held,) = await take(consumer, 1)
                await asyncio.to_thread(amqp_node.control, "stop_app")
                with pytest.raises(ConnectionLost):
                    await consumer.receive(1, 10)
                with pytest.raises(ConnectionLost):
                    await transport.publish([message_to(queue)])
                with pytest.raises(ConnectionLost, match=r"127\.0\.0\.1"):
                    await transport.open()
                assert len(losses) == 1
                await asyncio.to_thread(amqp_node.control, "start_app")
                await transport.open()
            async with transport.consume([queue.name], prefetch=5) as consumer:
                again = await take(consumer, 3)
                assert {*ids(again)} == {*ids(sent)}
                assert await consumer.settle([Settlement(held.token)]) == [SettleReceipt.LOST]
                await settled(consumer, again)
            assert (await transport.publish([Message(id="after", routing_key=queue.name)]))[0].ok

    asyncio.run(body())


def test_tls(amqp_node) -> None:
    async def body() -> None:
        trusted = f"{amqp_node.tls_url}?cafile={amqp_node.certificate}"
        for url in (trusted, amqp_node.tls_url + "?verify=no"):
            async with opened(url) as transport:
                queue = await declared(transport)
                await transport.publish([message_to(queue, body=b"x" * 300_000), message_to(queue)])
                async with transport.consume([queue.name], prefetch=5) as consumer:
                    await settled(consumer, await take(consumer, 2))
                session = transport._publisher._session
                session.abort("test")
                await asyncio.wait([session._closed], timeout=5)
                assert (await transport.publish([message_to(queue)]))[0].ok
        for url in (amqp_node.tls_url, trusted.replace("localhost", "127.0.0.1")):
            with pytest.raises(ConnectionLost, match="certificate verify failed"):
                async with opened(url):
                    pass

    asyncio.run(body())
