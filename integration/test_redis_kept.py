"""What the transport alone keeps: through a killed server, a full one, keys of another type, and dead consumers."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from conftest import require_redis_server, with_prefix
from redis_server import RedisServer

from celeriac import App
from celeriac.clock import SystemClock
from celeriac.errors import ConnectionLost, PublishNacked, TransportError, Unsupported
from celeriac.message import ACK, Dead, DeadLetter, Message, Move, Outcome, Requeue, Settlement, SettleReceipt
from celeriac.topology import Queue, Topology
from celeriac_redis.transport import RedisTransport

if TYPE_CHECKING:
    from celeriac.transport import Transport


def opened(url: str, test: Any) -> None:
    """Run ``test`` with a function that opens transports, and close them."""

    async def run() -> None:
        transports: list[Transport] = []

        async def open_one(at: str = url) -> Transport:
            transport = RedisTransport([at], clock=SystemClock(), on_lost=lambda _error: None)
            transports.append(transport)
            await transport.open()
            return transport

        try:
            async with asyncio.timeout(60):
                await test(open_one)
        finally:
            for transport in transports:
                await transport.close()

    asyncio.run(run())


def test_no_confirmed_message_is_lost_by_kill_9(tmp_path) -> None:
    """Publishes, claims, moves and acks go on while the server is killed: whatever was confirmed is there, once."""
    require_redis_server()
    with RedisServer(tmp_path / "redis", appendonly=True) as server:

        async def test(open_one: Any) -> None:
            queue, done = Queue("work"), Queue("done")
            confirmed: set[str] = set()
            for round_ in range(3):
                transport = await open_one()
                await transport.declare(Topology.of([queue, done]))
                publishing = asyncio.ensure_future(_publish_on(transport, confirmed, f"{round_}-"))
                moving = asyncio.ensure_future(_move_on(transport))
                await asyncio.sleep(0.5)  # the time in which it does what it can, not a wait for something
                server.kill()
                await asyncio.gather(publishing, moving)
                server.start()
            transport = await open_one()
            found = Counter[str]()
            async with transport.consume(["work", "done"], prefetch=1_000_000) as consumer:
                while batch := await consumer.receive(1000, 4.0):  # longer than the lease of what was held
                    found.update(delivery.message.id for delivery in batch)
                    await consumer.settle([Settlement(delivery.token) for delivery in batch])
            lost = confirmed - found.keys()
            assert not lost, f"{len(lost)} of {len(confirmed)} lost"
            assert max(found.values()) == 1, "a move is one step"
            print(f"kill -9 of the server, three times: {len(confirmed)} confirmed, 0 lost, 0 twice")

        opened(f"{server.url}?lease=2", test)


async def _publish_on(transport: Transport, confirmed: set[str], stem: str) -> None:
    number = 0
    while True:
        messages = [Message(id=f"{stem}{number + n}", routing_key="work", body=b"x" * 100) for n in range(20)]
        number += len(messages)
        try:
            receipts = await transport.publish(messages)
        except ConnectionLost:
            return
        confirmed |= {m.id for m, receipt in zip(messages, receipts, strict=True) if receipt.ok}
        if not all(receipt.ok for receipt in receipts):
            return


async def _move_on(transport: Transport) -> None:
    try:
        async with transport.consume(["work"], prefetch=100) as consumer:
            while True:
                batch = await consumer.receive(10, 1.0)
                moves = [Move([Message(id=d.message.id, routing_key="done")]) for d in batch]
                await consumer.settle([Settlement(d.token, m) for d, m in zip(batch, moves, strict=True)])
    except ConnectionLost:
        return


def test_a_full_server_refuses_and_still_acknowledges(tmp_path) -> None:
    require_redis_server()
    with RedisServer(tmp_path / "redis") as server:

        async def test(open_one: Any) -> None:
            transport = await open_one()
            await transport.declare(Topology.of([Queue("full")]))
            messages = [Message(id=str(n), routing_key="full", body=b"x" * 10_000) for n in range(50)]
            assert all(receipt.ok for receipt in await transport.publish(messages))
            async with transport.consume(["full"], prefetch=10) as consumer:
                held = await consumer.receive(10, 1)
                await asyncio.to_thread(server.say, "CONFIG", "SET", "maxmemory", "1mb")
                try:
                    (receipt,) = await transport.publish(messages[:1])
                    assert receipt.outcome is Outcome.NACKED, receipt
                except TransportError as error:
                    assert "maxmemory" in str(error)  # noqa: PT017 - either is an answer
                actions = [ACK, Dead(DeadLetter(reason="full")), Requeue(timedelta(seconds=0.1)), Requeue()]
                receipts = await consumer.settle(
                    [Settlement(one.token, action) for one, action in zip(held, [*actions, *[ACK] * 6], strict=True)]
                )
                assert set(receipts) == {SettleReceipt.DONE}
                again: list[str] = []
                while len(again) < 42:
                    batch = await consumer.receive(10, 2)
                    assert batch, "what is delayed falls due, and is taken"
                    again += [delivery.message.id for delivery in batch]
                    await consumer.settle([Settlement(delivery.token) for delivery in batch])
                assert {held[2].message.id, held[3].message.id} <= {*again}
                await asyncio.to_thread(server.say, "CONFIG", "SET", "maxmemory", "0")
                assert (await transport.publish(messages[:1]))[0].ok

        opened(server.url, test)


def test_a_full_server_tells_the_client(tmp_path) -> None:
    require_redis_server()
    with RedisServer(tmp_path / "redis") as server:
        app = App("full", broker=server.url, ignore_result=True)
        try:
            app.send_task("any.task")
            server.say("CONFIG", "SET", "maxmemory", "1mb")
            with pytest.raises(PublishNacked, match="maxmemory"):
                app.send_task("any.task")
        finally:
            app.close()


@pytest.mark.parametrize(
    "name",
    [
        "wrong",
        "unacked",
        "unacked_index",
        "celeriac:queues",
        "celeriac:paused",
        "celeriac:held:wrong",
        "celeriac:delayed:wrong",
    ],
)
def test_a_key_of_another_type_is_named_and_loses_nothing(redis_url, redis_broker, name) -> None:
    """Nothing is taken that could not be kept, and all is there when the key is gone."""
    prefix = redis_url.partition("prefix=")[2].replace("%3A", ":")

    async def test(open_one: Any) -> None:
        transport = await open_one()
        await transport.declare(Topology.of([Queue("wrong", priorities=2)]))
        message = Message(id="kept", routing_key="wrong", priority=1)
        assert (await transport.publish([message]))[0].ok
        with redis.Redis.from_url(redis_broker) as other:
            before = {kept: other.dump(kept) for kept in [f"{prefix}{name}"] if other.exists(kept)}
            other.delete(f"{prefix}{name}")
            other.set(f"{prefix}{name}", "somebody else's")
            with pytest.raises(TransportError, match="another type; remove it") as caught:
                await _use(transport)
            assert f"({prefix}{name})" in str(caught.value)
            other.delete(f"{prefix}{name}")
            for kept, value in before.items():
                other.restore(kept, 0, value)
        async with transport.consume(["wrong"], prefetch=1) as consumer:
            (delivery,) = await consumer.receive(1, 5)
            assert delivery.message.id == "kept"

    opened(redis_url, test)


def test_a_queue_called_as_the_hash_of_what_is_held_harms_no_other(redis_url) -> None:
    async def test(open_one: Any) -> None:
        transport = await open_one()
        with pytest.raises(Unsupported, match="'unacked'"):
            await transport.declare(Topology.of([Queue("sound"), Queue("unacked")]))
        await transport.declare(Topology.of([Queue("sound")]))
        await transport.publish([Message(id=name, routing_key=name) for name in ("unacked", "sound")])
        async with transport.consume(["sound"], prefetch=1) as consumer:
            assert [one.message.id for one in await consumer.receive(1, 5)] == ["sound"]

    opened(redis_url, test)


async def _use(transport: Transport) -> None:
    async with transport.consume(["wrong"], prefetch=10) as consumer:
        await consumer.receive(10, 1)
        (receipt,) = await transport.publish([Message(id="other", routing_key="wrong")])
        raise TransportError(receipt.detail)


def test_what_nobody_holds_any_more_is_taken_back_exactly_once(redis_url) -> None:
    """Many consumers look at once for what a dead one held."""

    async def test(open_one: Any) -> None:
        transport = await open_one()
        await transport.declare(Topology.of([Queue("back")]))
        await transport.publish([Message(id=str(n), routing_key="back") for n in range(1000)])
        dead = await open_one(f"{redis_url}&lease=1")
        consuming = dead.consume(["back"], prefetch=1000)
        consumer = await consuming.__aenter__()
        held = await consumer.receive(1000, 1)
        assert len(held) == 1000
        found = Counter[str]()

        async def drain(other: Transport) -> None:
            async with other.consume(["back"], prefetch=50) as one:
                while batch := await one.receive(50, 3.0):
                    assert {delivery.delivery_count for delivery in batch} == {2}
                    found.update(delivery.message.id for delivery in batch)
                    await one.settle([Settlement(delivery.token) for delivery in batch])

        await asyncio.gather(*[drain(await open_one()) for _ in range(4)])
        assert len(found) == 1000
        assert set(found.values()) == {1}
        receipts = await consumer.settle([Settlement(delivery.token) for delivery in held])
        assert set(receipts) == {SettleReceipt.LOST}
        await consuming.__aexit__(None, None, None)

    opened(redis_url, test)


def test_nothing_is_left_behind(redis_url, redis_broker) -> None:
    """After work of every kind no key is there that was not there before it."""
    prefix = redis_url.partition("prefix=")[2].replace("%3A", ":")

    async def test(open_one: Any) -> None:
        transport = await open_one()
        queues = [Queue("one", priorities=10), Queue("other")]
        await transport.declare(Topology.of(queues))
        with redis.Redis.from_url(redis_broker) as other:

            def keys() -> set[bytes]:
                return set(other.scan_iter(f"{prefix}*", count=1000))

            baseline = keys()
            soon = datetime.now(UTC) + timedelta(seconds=0.3)
            for number in range(200):
                await transport.publish(
                    [
                        Message(id=f"p{number}", routing_key="one", priority=number % 10),
                        Message(id=f"d{number}", routing_key="other", not_before=soon),
                        Message(id=f"n{number}", routing_key="other"),
                    ]
                )
            await transport.revoke(["a", "b"], datetime.now(UTC) + timedelta(seconds=0.1))
            assert keys() > baseline
            left = 600
            while left:
                async with transport.consume(["one", "other"], prefetch=40) as consumer:
                    batch = await consumer.receive(40, 2.0)
                    done = batch[: len(batch) // 2 or 1]
                    await consumer.settle([Settlement(delivery.token) for delivery in done])
                    left -= len(done)
            await asyncio.sleep(0.2)  # until the revocations have run out
            assert keys() == baseline

    opened(redis_url, test)


def test_a_prefix_is_in_every_key(tmp_path) -> None:
    require_redis_server()
    with RedisServer(tmp_path / "redis") as server:

        async def test(open_one: Any) -> None:
            transport = await open_one()
            await transport.declare(Topology.of([Queue("q", priorities=3)]))
            later = datetime.now(UTC) + timedelta(hours=1)
            messages = [Message(id=str(n), routing_key="q", priority=n % 3) for n in range(6)]
            await transport.publish([*messages, Message(id="later", routing_key="q", not_before=later)])
            await transport.pause("q")
            await transport.resume("q")
            await transport.revoke(["a"], later)
            async with transport.consume(["q"], prefetch=2) as consumer:
                await consumer.receive(2, 1)
                keys = await asyncio.to_thread(server.say, "KEYS", "*")
            assert isinstance(keys, list)
            assert all(key.startswith("mine:") for key in keys), keys

        opened(with_prefix(server.url, "mine:"), test)
