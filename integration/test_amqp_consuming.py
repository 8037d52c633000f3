"""Consuming on RabbitMQ: replaced consumers, frames saved, channels lost, and who may not connect."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pika import spec

from celeriac.clock import SystemClock
from celeriac.errors import AccessRefused, ConfigurationError, ConnectionLost, PublishError, QueueNotFound
from celeriac.message import REQUEUE, Dead, DeadLetter, Settlement, SettleReceipt
from celeriac.testing.conformance.case import eventually, unique
from celeriac.testing.conformance.transport_case import ids, message_to, settled, take, take_all
from celeriac.topology import Queue, Topology
from celeriac_amqp.declaring import CLASSIC, QUORUM
from celeriac_amqp.delays import LONGEST
from celeriac_amqp.pausing import PAUSED_SUFFIX
from celeriac_amqp.transport import AmqpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def opened(url: str, **fields: object) -> AsyncIterator[tuple[AmqpTransport, Queue]]:
    transport = AmqpTransport([url], clock=SystemClock(), on_lost=lambda _error: None)
    await transport.open()
    queue = Queue(unique("consuming"), **fields)
    await transport.declare(Topology.of([queue]))
    try:
        yield transport, queue
    finally:
        await transport.delete(queue.name)
        await transport.close()


def frames_of(transport: AmqpTransport) -> list[object]:
    """Every method that *in* sends from now on."""
    sent: list[object] = []
    raw = transport.control().raw
    send = raw._send_method

    def spy(channel: int, method: object, content: object = None) -> None:
        sent.append(method)
        send(channel, method, content)

    raw._send_method = spy
    return sent


@pytest.mark.parametrize("fields", [{}, {"priorities": 10}])
def test_shrinking_gives_back_once_and_no_storm_follows(amqp_vhost, fields) -> None:
    async def body() -> None:
        async with opened(amqp_vhost, **fields) as (transport, queue):
            await transport.publish([message_to(queue) for _ in range(100)])
            async with transport.consume([queue.name], prefetch=50) as consumer:
                held = await take(consumer, 3)
                await eventually(_ready_there(consumer), lambda ready: ready == 47)
                sent = frames_of(transport)
                await consumer.set_prefetch(5)
                assert [len(window.ready) for window in consumer._windows] == [2]
                await asyncio.sleep(0.3)
                nacks = [method for method in sent if isinstance(method, spec.Basic.Nack)]
                assert len(nacks) == 45
                assert not any(isinstance(method, spec.Basic.Reject) for method in sent)
                held += await take(consumer, 2)
                assert not await take_all(consumer)
                await settled(consumer, held)
                held = await take(consumer, 5)
                await settled(consumer, held)
                assert len(await take(consumer, 5)) == 5

    asyncio.run(body())


def _ready_there(consumer):
    async def look() -> int:
        return sum(len(window.ready) for window in consumer._windows)

    return look


def test_going_up_and_down_all_the_time_loses_and_doubles_nothing(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            sent = [message_to(queue) for _ in range(400)]
            await transport.publish(sent)
            done: list[str] = []
            async with transport.consume([queue.name], prefetch=7) as consumer:
                sizes = [3, 9, 0, 1, 30, 2, 2, 0, 5, 40]
                replaced = frames_of(transport)
                began = time.monotonic()
                while len(done) < len(sent):
                    await consumer.set_prefetch(sizes[len(done) % len(sizes)] or 1)
                    got = await consumer.receive(11, 2)
                    assert got
                    await settled(consumer, got)
                    done += ids(got)
            assert sorted(done) == sorted(ids(sent))
            consumes = sum(isinstance(method, spec.Basic.Consume) for method in replaced)
            assert consumes < 400, f"{consumes} consumers in {time.monotonic() - began:.1f} s"

    asyncio.run(body())


def test_what_comes_while_a_consumer_ends_is_kept_or_nacked_never_rejected(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost, priorities=10) as (transport, queue):
            sent = [message_to(queue, body=b"x" * 2000) for _ in range(1000)]
            await transport.publish(sent)
            methods: list[object] = []
            for _ in range(5):
                async with transport.consume([queue.name], prefetch=1000) as consumer:
                    now = frames_of(transport)
                    await consumer.set_prefetch(0)  # in the midst of what the broker sends
                    methods += now
            nacks = sum(isinstance(method, spec.Basic.Nack) for method in methods)
            assert nacks > 100, "nothing was on its way, so nothing was tested"
            assert not any(isinstance(method, spec.Basic.Reject) for method in methods)
            async with transport.consume([queue.name], prefetch=1000) as consumer:
                assert ids(await take(consumer, 1000)) == ids(sent)

    asyncio.run(body())


def test_acks_of_the_oldest_are_one_frame(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            await transport.publish([message_to(queue) for _ in range(30)])
            async with transport.consume([queue.name], prefetch=100) as consumer:
                held = await take(consumer, 30)
                sent = frames_of(transport)
                kept = held[20]
                await settled(consumer, [one for one in reversed(held) if one is not kept])
                acks = [(m.delivery_tag, m.multiple) for m in sent if isinstance(m, spec.Basic.Ack)]
                assert (20, True) in acks
                assert len(acks) == 10
            await eventually(lambda: transport.depth(queue.name), lambda depth: depth.ready == 1)
            async with transport.consume([queue.name], prefetch=100) as consumer:
                assert ids(await take(consumer, 1)) == [kept.message.id]

    asyncio.run(body())


def test_a_channel_that_the_broker_closes_harms_no_other_queue(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue), opened(amqp_vhost) as (_, calm):
            await transport.publish([message_to(queue), message_to(calm)])
            async with transport.consume([queue.name, calm.name], prefetch=10) as consumer:
                held = {one.queue: one for one in await take(consumer, 2)}
                window = consumer._by_queue[queue.name]
                window._channel.raw.basic_ack(4711)  # an unknown tag: 406
                (again,) = await take(consumer, 1)
                assert (again.message.id, again.redelivered) == (held[queue.name].message.id, True)
                assert await consumer.settle(
                    [Settlement(held[queue.name].token), Settlement(held[calm.name].token), Settlement(again.token)]
                ) == [SettleReceipt.LOST, SettleReceipt.SENT, SettleReceipt.SENT]
                assert await consumer.check()

    asyncio.run(body())


def test_what_was_lost_with_its_channel_is_no_error_to_settle(amqp_vhost) -> None:
    """Before the channel is open again, and after the consumer was left: a worker's results come when they come."""

    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            await transport.publish([message_to(queue)])
            async with transport.consume([queue.name], prefetch=10) as consumer:
                (held,) = await take(consumer, 1)
            assert await consumer.settle([Settlement(held.token)]) == [SettleReceipt.LOST]
            async with transport.consume([queue.name], prefetch=10) as consumer:
                (held,) = await take(consumer, 1)
                consumer._windows[0].lost()
                assert await consumer.settle([Settlement(held.token)]) == [SettleReceipt.LOST]

    asyncio.run(body())


def test_a_queue_that_was_not_made_by_us_is_not_made_again(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (maker, queue):
            stranger = AmqpTransport([amqp_vhost], clock=SystemClock(), on_lost=lambda _error: None)
            await stranger.open()
            async with stranger.consume([queue.name], prefetch=1) as consumer:
                await maker.delete(queue.name)
                with pytest.raises(ConnectionLost, match=queue.name):
                    await consumer.receive(1, 5)
                assert not await consumer.check()
            await stranger.close()

    asyncio.run(body())


def test_a_requeue_storm_is_left_to_its_caller_but_a_delay_is_not_early(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost, priorities=10) as (transport, queue):
            await transport.publish([message_to(queue, priority=9, headers={"id": "x", "n": 1.25})])
            async with transport.consume([queue.name], prefetch=1) as consumer:
                (held,) = await take(consumer, 1)
                await settled(consumer, [held], REQUEUE)
                (held,) = await take(consumer, 1)
                assert held.redelivered
                due = datetime.now(UTC) + timedelta(seconds=1)
                await settled(consumer, [held], type(REQUEUE)(timedelta(seconds=1)))
                (held,) = await take(consumer, 1)
                assert datetime.now(UTC) >= due
                assert (held.message.priority, held.message.headers) == (9, {"id": "x", "n": 1.25})
                await settled(consumer, [held])

    asyncio.run(body())


def test_a_dead_letter_queue_that_was_deleted_is_made_again(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            letter = Dead(DeadLetter(reason="test"))
            await transport.publish([message_to(queue), message_to(queue)])
            async with transport.consume([queue.name], prefetch=2) as consumer:
                first, second = await take(consumer, 2)
                await settled(consumer, [first], letter)
                async with transport.control().scratch() as channel:
                    await channel.call("queue_delete", queue.name + ".dead")
                with pytest.raises(PublishError):
                    await consumer.settle([Settlement(second.token, letter)])
                await settled(consumer, [second], letter)
            assert ids(await transport.peek(queue.name + ".dead", 5)) == ids([second])
            await transport.delete(queue.name + ".dead")

    asyncio.run(body())


@pytest.mark.parametrize("earlier", [None, CLASSIC])
def test_the_flag_of_a_pause_outlives_a_node(amqp_vhost, earlier) -> None:
    """A classic queue could not be found while its node is down; one that is there from earlier does as well."""

    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            flag = queue.name + PAUSED_SUFFIX
            async with transport.control().scratch() as channel:
                if earlier:
                    await channel.call("queue_declare", flag, durable=True, arguments=dict(earlier))
            await transport.pause(queue.name)
            async with transport.control().scratch() as channel:
                await channel.call("queue_declare", flag, durable=True, arguments=dict(earlier or QUORUM))
            assert (await transport.depth(queue.name)).paused
            await transport.resume(queue.name)
            assert not (await transport.depth(queue.name)).paused

    asyncio.run(body())


def test_the_longest_delay_is_taken(amqp_vhost) -> None:
    async def body() -> None:
        async with opened(amqp_vhost) as (transport, queue):
            due = datetime.now(UTC) + LONGEST
            assert (await transport.publish([message_to(queue, not_before=due)]))[0].ok

    asyncio.run(body())


# -- who may not connect


def refused(url: str, *others: str) -> tuple[Exception, float]:
    async def body() -> None:
        transport = AmqpTransport([url, *others], clock=SystemClock(), on_lost=lambda _error: None)
        try:
            await transport.open()
        finally:
            await transport.close()

    began = time.monotonic()
    with pytest.raises((ConnectionLost, AccessRefused, ConfigurationError)) as raised:
        asyncio.run(body())
    return raised.value, time.monotonic() - began


def test_a_node_that_is_silent_is_tried_once(amqp_vhost) -> None:
    """By the connection that publishes it is not tried again, nor by whoever comes after one that gave up."""

    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"amqp://127.0.0.1:{silent.getsockname()[1]}?connect_timeout=30"
            transport = AmqpTransport([url, amqp_vhost], clock=SystemClock(), on_lost=lambda _error: None)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(transport.open(), 0.3)
            await asyncio.wait_for(transport.open(), 5)
            queue = Queue(unique("silent"))
            await transport.declare(Topology.of([queue]))
            assert (await asyncio.wait_for(transport.publish([message_to(queue)]), 5))[0].ok
            silent.settimeout(0.1)
            silent.accept()[0].close()
            with pytest.raises(TimeoutError):
                silent.accept()
            await transport.delete(queue.name)
            await transport.close()

    asyncio.run(body())


def test_each_way_of_not_connecting_says_what_is_wrong_within_seconds(amqp_broker, caplog) -> None:
    netloc = amqp_broker.partition("@")[2].partition("/")[0]
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        silent_port, closed_port = silent.getsockname()[1], closed.getsockname()[1]
        closed.close()
        caplog.set_level(logging.DEBUG)
        for url, kind, words in [
            (f"amqp://guest:open-sesame@127.0.0.1:{closed_port}", ConnectionLost, f"127.0.0.1:{closed_port}"),
            (f"amqp://guest:open-sesame@127.0.0.1:{silent_port}?connect_timeout=0.5", ConnectionLost, "did not answer"),
            ("amqp://guest:open-sesame@no-such-host.invalid", ConnectionLost, "no-such-host.invalid:5672"),
            (f"amqp://guest:open-sesame@{netloc}", AccessRefused, "password of user 'guest'"),
            (f"amqp://guest:guest@{netloc}/no-such-vhost", AccessRefused, "'no-such-vhost'"),
            (f"amqps://guest:open-sesame@{netloc}?verify=no", ConnectionLost, netloc),
            (f"amqps://{netloc}?cafile=/no/such/file", ConfigurationError, "of /no/such/file"),
        ]:
            error, seconds = refused(url)
            assert type(error) is kind, url
            assert words in str(error), url
            assert seconds < 5, url
            if kind is not ConfigurationError and "timeout" not in url:
                assert error.__cause__ is not None
            assert "open-sesame" not in f"{error} {error.__cause__}"
    assert "open-sesame" not in caplog.text


def test_the_next_address_is_tried(amqp_vhost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"amqp://127.0.0.1:{closed.getsockname()[1]}"

    async def body() -> None:
        transport = AmqpTransport([dead, amqp_vhost], clock=SystemClock(), on_lost=lambda _error: None)
        await transport.open()
        queue = Queue(unique("consuming"))
        await transport.declare(Topology.of([queue]))
        assert (await transport.publish([message_to(queue)]))[0].ok
        await transport.delete(queue.name)
        await transport.close()

    asyncio.run(body())
    error, _ = refused(dead, dead)
    assert str(error).count("127.0.0.1") >= 2


def test_a_silent_peer_is_given_up_by_heartbeat(amqp_vhost) -> None:
    async def body() -> None:
        lost = asyncio.Event()
        transport = AmqpTransport([amqp_vhost + "?heartbeat=1"], clock=SystemClock(), on_lost=lambda _error: lost.set())
        await transport.open()
        raw = transport.control().raw
        raw._on_data_available = lambda _data: None  # nothing reaches us any more
        raw._transport._protocol.data_received = lambda _data: None
        raw._heartbeat_checker._send_heartbeat_frame = lambda: None
        await asyncio.wait_for(lost.wait(), 9)
        await transport.close()

    asyncio.run(body())


def test_looking_into_queues_while_somebody_makes_them(amqp_vhost) -> None:
    """RabbitMQ ends the connection of who asks a half-made quorum queue for a message."""
    names = [unique("making") for _ in range(30)]

    async def look(transport: AmqpTransport) -> None:
        for name in names:
            while True:
                with suppress(QueueNotFound):
                    assert not await transport.peek(name, 10)
                    break

    async def body() -> None:
        async with opened(amqp_vhost) as (looking, _), opened(amqp_vhost) as (making, _):
            looks = asyncio.ensure_future(look(looking))
            try:
                for name in names:
                    await making.declare(Topology.of([Queue(name)]))
                await looks
            finally:
                looks.cancel()
                for name in names:
                    await making.delete(name)

    asyncio.run(body())
