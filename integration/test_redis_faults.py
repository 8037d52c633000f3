"""What Redis and the network do to a worker and a client that were well: both are well again, in bounded time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
from conftest import require_redis_server, with_prefix
from redis_server import RedisServer
from scene import BOUND, HEARTBEAT, Scene, client
from witness import until
from worker_process import WorkerProcess

from celeriac import App
from celeriac.clock import SystemClock
from celeriac.errors import ConnectionLost, PublishNacked, TransportError
from celeriac.message import ACK, Dead, DeadLetter, Message, Move, Outcome, Requeue, Settlement, SettleReceipt
from celeriac.testing import FaultProxy
from celeriac.topology import Queue, Topology
from celeriac_redis.transport import RedisTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.transport import Transport


PASSWORD = "open-sesame"  # noqa: S105 - of a server that lives as long as its test


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    require_redis_server()
    folder = tmp_path_factory.mktemp("faults")
    path = folder / "ran"
    path.touch()
    server = RedisServer(folder / "redis", appendonly=True, password=PASSWORD)
    with server, FaultProxy(server.url) as proxy:
        url = f"{proxy.url(server.url)}?heartbeat={HEARTBEAT}&lease=3"
        with WorkerProcess("sums", url, "-c", "1") as worker, client(url) as app:
            worker.ready()
            scene = Scene(server, proxy, worker, app, path)
            scene.is_well(time.monotonic(), "nothing")
            yield scene
            assert worker.terminate() == 0
            assert not any(PASSWORD in line for line in worker.lines)


def test_reset(scene) -> None:
    scene.proxy.reset(new=False)
    scene.is_well(time.monotonic(), "RST")


def test_half_open(scene) -> None:
    scene.proxy.blackhole(new=False)
    begun = time.monotonic()
    assert scene.try_to_send() is None
    scene.is_well(begun, "half open")
    scene.proxy.heal()


@pytest.mark.soak
def test_a_network_that_is_gone_for_a_while(scene) -> None:
    seen = len(scene.worker.lines)
    scene.proxy.blackhole()
    assert scene.try_to_send() is None
    until(lambda: any("cannot reopen" in line for line in scene.worker.lines[seen:]))
    scene.proxy.heal()
    scene.is_well(time.monotonic(), "black hole")


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_the_server_closes_the_connections(scene, kind) -> None:
    scene.node.say("CLIENT", "KILL", "TYPE", kind)
    scene.is_well(time.monotonic(), f"CLIENT KILL TYPE {kind}")


@pytest.mark.parametrize("seconds", [1.0, 3 * HEARTBEAT])
def test_the_server_is_blocked(scene, seconds) -> None:
    """Shorter than a heartbeat it is waited for; longer it is given up, and taken again."""
    blocked = threading.Thread(
        target=lambda: scene.node.client(socket_timeout=60).execute_command("DEBUG", "SLEEP", seconds)
    )
    blocked.start()
    time.sleep(0.2)  # it is asleep: whoever asked would wait with it
    begun = time.monotonic()
    scene.try_to_send()
    blocked.join()
    scene.is_well(max(begun, time.monotonic()), f"blocked for {seconds:g} s")


def test_the_server_becomes_a_replica_for_a_while(scene) -> None:
    """As a failover does it: writes are refused, until it is the master again."""
    seen = len(scene.worker.lines)
    scene.node.say("REPLICAOF", "127.0.0.1", "1")
    until(lambda: any("replica" in line for line in scene.worker.lines[seen:]), BOUND)
    assert scene.try_to_send() is None
    scene.node.say("REPLICAOF", "NO", "ONE")
    scene.is_well(time.monotonic(), "READONLY")


def test_the_password_is_changed_and_changed_back(scene) -> None:
    seen = len(scene.worker.lines)
    scene.node.say("CONFIG", "SET", "requirepass", "another")
    scene.node.password = "another"  # noqa: S105 - of a server that lives as long as its test
    scene.node.say("CLIENT", "KILL", "TYPE", "normal")
    until(lambda: any("refused" in line for line in scene.worker.lines[seen:]), BOUND)
    assert scene.try_to_send() is None
    scene.node.say("CONFIG", "SET", "requirepass", PASSWORD)
    scene.node.password = PASSWORD
    scene.is_well(time.monotonic(), "password changed")


def test_the_queue_is_deleted(scene) -> None:
    with client(scene.node.url) as other:
        other.client.portal.run(other.client.connection.open())
        other.client.portal.run(other.client.connection.transport.delete("celeriac"))
    scene.is_well(time.monotonic(), "queue deleted")


def test_everything_is_deleted(scene) -> None:
    scene.node.say("FLUSHALL")
    scene.is_well(time.monotonic(), "FLUSHALL")


def test_the_scripts_are_forgotten(scene) -> None:
    scene.node.say("SCRIPT", "FLUSH")
    scene.is_well(time.monotonic(), "SCRIPT FLUSH")


def test_the_server_is_killed_and_started(scene) -> None:
    """It writes each command to the disk before it answers: what was confirmed is there."""
    with client(scene.node.url) as other:
        other.send_task("sums.note", (str(scene.path), "kept"), countdown=1)
    scene.node.kill()
    assert scene.try_to_send() is None
    scene.node.start()
    scene.is_well(time.monotonic(), "server killed")
    until(lambda: "kept" in scene.ran(), 10)


# -- the transport alone


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
    "name", ["wrong", "unacked", "unacked_index", "celeriac:queues", "celeriac:held:wrong", "celeriac:delayed:wrong"]
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
            with pytest.raises(TransportError, match=r"type|WRONGTYPE"):
                await _use(transport)
            other.delete(f"{prefix}{name}")
            for kept, value in before.items():
                other.restore(kept, 0, value)
        async with transport.consume(["wrong"], prefetch=1) as consumer:
            (delivery,) = await consumer.receive(1, 5)
            assert delivery.message.id == "kept"

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
