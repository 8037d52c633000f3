"""What the scripts do, against what the parts in Python do, and against clients that follow no rule."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
import redis

from celeriac.clock import SystemClock
from celeriac.errors import TransportError
from celeriac.message import Dead, DeadLetter, Message, Move, Outcome, Requeue, Settlement, SettleReceipt
from celeriac.topology import Binding, Exchange, Queue, Topology
from celeriac.transport_helpers import RoutingTable
from celeriac_redis.transport import RedisTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from celeriac.message import Delivery
    from celeriac.transport import Consumer

WORDS = ["a", "b", "ab", "*", "#", "", "a-b", "%", "["]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisTransport]:
    transport = RedisTransport([url], clock=SystemClock(), on_lost=lambda _error: None)
    await transport.open()
    try:
        yield transport
    finally:
        await transport.close()


def live(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(90):
            await test()

    asyncio.run(bounded())


def raw(url: str) -> tuple[redis.Redis, str]:
    """Return a client of redis-py's, and the prefix."""
    where, _, query = url.partition("?")
    return redis.Redis.from_url(where), parse_qs(query)["prefix"][0]


async def all_of(consumer: Consumer, quiet: float = 0.3) -> list[Delivery]:
    found: list[Delivery] = []
    while batch := await consumer.receive(100, quiet):
        found += batch
    return found


@pytest.mark.parametrize("seed", range(5))
def test_messages_are_routed_as_the_routing_table_says(redis_url, seed) -> None:
    chance = random.Random(seed)

    def key() -> str:
        return ".".join(chance.choice(WORDS) for _ in range(chance.randrange(1, 5)))

    kinds = ["direct", "topic", "fanout"]
    exchanges = [Exchange(f"x{number}", kinds[number % 3]) for number in range(6)]  # type: ignore[arg-type]
    queues = [Queue(f"q{number}") for number in range(5)]
    bindings = [Binding(chance.choice(exchanges).name, chance.choice(queues).name, key()) for _ in range(40)]
    topology = Topology(exchanges, queues, bindings)
    table = RoutingTable()
    table.add(topology)

    async def test() -> None:
        async with opened(redis_url) as transport:
            await transport.declare(topology)
            names = [*(exchange.name for exchange in exchanges), "", "nowhere"]
            messages = [
                Message(id=str(number), exchange=chance.choice(names), routing_key=chance.choice([key(), "q1"]))
                for number in range(300)
            ]
            receipts = await transport.publish(messages)
            expected: Counter[tuple[str, str]] = Counter()
            for message, receipt in zip(messages, receipts, strict=True):
                bound = table.route(message.exchange, message.routing_key)
                assert (receipt.outcome is Outcome.CONFIRMED) == bool(bound), (message, receipt, bound)
                expected.update((queue, message.id) for queue in bound)
            async with transport.consume([queue.name for queue in queues], prefetch=10_000) as consumer:
                taken = await all_of(consumer)
            assert Counter((one.queue, one.message.id) for one in taken) == expected

    live(test)


def test_one_tag_for_two_queues_is_two_deliveries(redis_url) -> None:
    """kombu pushes the very same envelope, tag and all, into each queue of a topic."""
    client, prefix = raw(redis_url)

    async def test() -> None:
        async with opened(redis_url) as transport:
            await transport.declare(Topology.of([Queue("one"), Queue("other")]))
            envelope = json.dumps({"headers": {"id": "m"}, "body": "e30=", "properties": {"delivery_tag": "same"}})
            for queue in ("one", "other", "one"):
                client.lpush(f"{prefix}{queue}", envelope)
            async with transport.consume(["one", "other"], prefetch=10) as consumer:
                held = await all_of(consumer)
                assert sorted(one.queue for one in held) == ["one", "one", "other"]
                assert (await consumer.settle([Settlement(held[0].token)])) == [SettleReceipt.DONE]
                actions = [Requeue(), Requeue()]
                await consumer.settle([Settlement(one.token, a) for one, a in zip(held[1:], actions, strict=True)])
                again = await all_of(consumer)
                assert sorted(one.queue for one in again) == sorted(one.queue for one in held[1:])
                assert all(one.redelivered for one in again)

    with client:
        live(test)


@pytest.mark.parametrize(
    "junk", [b"", b"\xff\xfe", b"not json", b"{", b"{}", b"[1]", b"null", b'"text"', b'{"a":', b"{ }"]
)
def test_what_is_no_message_is_handed_out_given_back_and_set_aside(redis_url, junk) -> None:
    client, prefix = raw(redis_url)

    async def test() -> None:
        async with opened(redis_url) as transport:
            await transport.declare(Topology.of([Queue("q")]))
            client.lpush(f"{prefix}q", junk, junk)
            async with transport.consume(["q"], prefetch=10) as consumer:
                for action in (Requeue(), Requeue(Requeue().delay)):
                    held = await all_of(consumer)
                    assert len(held) == 2
                    await consumer.settle([Settlement(one.token, action) for one in held])
                held = await all_of(consumer)
                assert len(await transport.peek("q", 5)) == 0
                letter = Dead(DeadLetter(reason="undecodable"))
                await consumer.settle([Settlement(one.token, letter) for one in held])
            assert (await transport.depth("q")).ready == 0
            assert (await transport.depth("q.dead")).ready == 2

    with client:
        live(test)


def test_delayed_junk_that_is_the_same_is_two(redis_url) -> None:
    client, prefix = raw(redis_url)

    async def test() -> None:
        async with opened(redis_url) as transport:
            await transport.declare(Topology.of([Queue("q")]))
            client.lpush(f"{prefix}q", b"junk", b"junk", b"junk")
            async with transport.consume(["q"], prefetch=10) as consumer:
                held = await all_of(consumer)
                await consumer.settle([Settlement(one.token, Requeue(timedelta(seconds=0.1))) for one in held])
                assert len(await all_of(consumer, 0.5)) == 3

    with client:
        live(test)


def test_moves_and_acks_race_with_a_thief(redis_url) -> None:
    """Two consumers of short leases steal from each other all the time; each message is moved once, and only once."""

    async def test() -> None:
        async with opened(f"{redis_url}&lease=0.1") as one, opened(f"{redis_url}&lease=0.1") as other:
            await one.declare(Topology.of([Queue("work"), Queue("done")]))
            sent = [Message(id=str(number), routing_key="work") for number in range(300)]
            assert all(receipt.ok for receipt in await one.publish(sent))
            chance = random.Random(7)
            moved: Counter[str] = Counter()
            lost = 0

            async def work(transport: RedisTransport) -> None:
                nonlocal lost
                async with transport.consume(["work"], prefetch=30) as consumer:
                    while sum(moved.values()) < len(sent):
                        batch = await consumer.receive(30, 0.2)
                        await asyncio.sleep(chance.choice([0, 0, 0.15]))  # longer than the lease, now and then
                        moves = [
                            Settlement(d.token, Move([Message(id=d.message.id, routing_key="done")])) for d in batch
                        ]
                        receipts = await consumer.settle(moves)
                        for delivery, receipt in zip(batch, receipts, strict=True):
                            moved[delivery.message.id] += receipt is SettleReceipt.DONE
                            lost += receipt is SettleReceipt.LOST

            await asyncio.gather(work(one), work(other), work(one), work(other))
            async with one.consume(["done"], prefetch=1000) as consumer:
                found: Counter[str] = Counter()
                while batch := await consumer.receive(100, 0.3):
                    found.update(delivery.message.id for delivery in batch)
                    await consumer.settle([Settlement(delivery.token) for delivery in batch])
            assert lost > 0, "nobody was robbed: the test shows nothing"
            assert set(found) == {message.id for message in sent}
            assert set(found.values()) == {1}

    live(test)


def test_large_messages_are_handed_out_a_few_at_a_time(redis_url) -> None:
    """A claim of many does not make the server copy gigabytes at once."""

    async def test() -> None:
        async with opened(redis_url) as transport:
            await transport.declare(Topology.of([Queue("large")]))
            body = bytes(2 * 2**20)
            for number in range(40):
                await transport.publish([Message(id=str(number), routing_key="large", body=body)])
            async with transport.consume(["large"], prefetch=1000) as consumer:
                first = await consumer.receive(1000, 5)
                assert 0 < len(first) < 40
                rest = await all_of(consumer)
                assert [one.message.id for one in (*first, *rest)] == [str(number) for number in range(40)]

    live(test)


def test_a_name_that_cannot_be_encoded_is_refused(redis_url) -> None:
    async def test() -> None:
        async with opened(redis_url) as transport:
            with pytest.raises(TransportError, match="encoded"):
                await transport.publish([Message(id="m", routing_key="\ud800")])

    live(test)
