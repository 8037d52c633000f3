"""What somebody forgot in unacked is given back, whatever else stands there: one bad entry stops no other."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING

import pytest
from test_redis_scripts import live, opened, raw

from celeriac.topology import Queue, Topology

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

TIMEOUT = 1  # seconds of visibility timeout
LONG_AGO = 1_000.0
ENVELOPE = {
    "body": "",
    "headers": {"id": "good"},
    "properties": {"delivery_tag": "t", "priority": 0, "delivery_info": {}},
}
BINDING = "_kombu.binding.ex"


def forgotten(client: redis.Redis, prefix: str, tag: str, kept: str | bytes, ago: float = LONG_AGO) -> None:
    client.hset(f"{prefix}unacked", tag, kept)
    client.zadd(f"{prefix}unacked_index", {tag: time.time() - ago})


def unreadable_bindings(client: redis.Redis, prefix: str) -> None:
    client.sadd(f"{prefix}{BINDING}", "k\x06\x16(((\x06\x16gone", b"\xff\x06\x16\x06\x16gone", "k")


def binding_of_another_type(client: redis.Redis, prefix: str) -> None:
    client.set(f"{prefix}{BINDING}", "a string")


def list_of_another_type(client: redis.Redis, prefix: str) -> None:
    client.set(f"{prefix}k", "a string")


def nothing(_client: redis.Redis, _prefix: str) -> None:
    """Prepare nothing."""


@pytest.mark.parametrize(
    ("tag", "kept", "prepare"),
    [
        pytest.param("a", b"5", nothing, id="a number"),
        pytest.param("a", b"[1]", nothing, id="too short"),
        pytest.param("a", b'[{}, "ex", {"a": 1}]', nothing, id="a key that is no text"),
        pytest.param("celeriac:a:0", b'[{},"",no text]', nothing, id="of ours, cut"),
        pytest.param("celeriac:a:0", b"", nothing, id="of ours, empty"),
        pytest.param("a", b'[{}, "ex", "k"]', unreadable_bindings, id="bindings that are none"),
        pytest.param("a", b'[{}, "ex", "k"]', binding_of_another_type, id="a binding of another type"),
        pytest.param("a", b'[{}, "", "k"]', list_of_another_type, id="a list of another type"),
    ],
)
def test_a_bad_entry_is_in_nobody_s_way(
    redis_url: str, tag: str, kept: bytes, prepare: Callable[[redis.Redis, str], None]
) -> None:
    """The bad one is the older, so that it is looked at first."""

    async def test() -> None:
        client, prefix = raw(redis_url)
        forgotten(client, prefix, tag, kept, 2 * LONG_AGO)
        forgotten(client, prefix, "t", json.dumps([ENVELOPE, "", "q"]))
        prepare(client, prefix)
        async with opened(f"{redis_url}&visibility_timeout={TIMEOUT}") as transport:
            await transport.declare(Topology.of([Queue("q")]))
            async with transport.consume(["q"], prefetch=10) as consumer:
                (found,) = await consumer.receive(1, 5)
        assert (found.message.id, found.redelivered) == ("good", True)
        client.close()

    live(test)


def test_what_cannot_be_given_back_is_kept_told_of_and_not_doubled(redis_url, caplog) -> None:
    """Of two queues one is somebody else's key: when that is gone, each has it once."""

    async def test() -> None:
        client, prefix = raw(redis_url)
        client.sadd(f"{prefix}{BINDING}", "k\x06\x16\x06\x16q", "k\x06\x16\x06\x16other")
        client.set(f"{prefix}other", "a string")
        forgotten(client, prefix, "t", json.dumps([ENVELOPE, "ex", "k"]))
        async with opened(f"{redis_url}&visibility_timeout={TIMEOUT}") as transport:
            await transport.declare(Topology.of([Queue("q"), Queue("other")]))
            async with transport.consume(["q"], prefetch=10) as consumer:
                assert await consumer.receive(1, 2.5 * TIMEOUT) == ()  # it was tried more than once
                assert client.hlen(f"{prefix}unacked") == 1
                client.delete(f"{prefix}other")
                assert len(await consumer.receive(9, 5)) == 1
                assert await consumer.receive(9, 0) == ()
                assert client.llen(f"{prefix}other") == 1
        client.close()

    with caplog.at_level(logging.ERROR, "celeriac.redis"):
        live(test)
    assert "other is no list but a string" in caplog.text


class Told(logging.Handler):
    """Sets an event at a warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.event = asyncio.Event()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()
        self.event.set()


def test_a_look_that_fails_is_not_the_last(redis_url) -> None:
    """The index itself was somebody else's for a while."""

    async def test() -> None:
        client, prefix = raw(redis_url)
        told = Told()
        logger = logging.getLogger("celeriac.redis")
        logger.addHandler(told)
        client.set(f"{prefix}unacked_index", "a string")
        async with opened(f"{redis_url}&visibility_timeout={TIMEOUT}") as transport:
            await transport.declare(Topology.of([Queue("q")]))
            async with transport.consume(["q"], prefetch=10) as consumer:
                await told.event.wait()
                logger.removeHandler(told)
                assert "cannot look for what was forgotten" in told.text
                client.delete(f"{prefix}unacked_index")
                forgotten(client, prefix, "t", json.dumps([ENVELOPE, "", "q"]))
                assert [one.message.id for one in await consumer.receive(1, 5)] == ["good"]
        client.close()

    live(test)
