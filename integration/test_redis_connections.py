"""What connections cost and when they end: those opened later than the first, and one that has nothing to do."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from test_redis_scripts import live, opened

from celeriac.clock import SystemClock
from celeriac.errors import ConnectionLost
from celeriac.message import Message
from celeriac.topology import Queue, Topology
from celeriac_redis.transport import RedisTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis_server import RedisServer

PATIENCE = 1  # seconds: both of the heartbeat and of connecting
BOUND = 4 * PATIENCE


async def listen(transport: RedisTransport) -> None:
    async with transport.listen("topic"):
        pass


async def publish(transport: RedisTransport) -> None:
    await transport.publish([Message(id="a", routing_key="q", body=b"")])


@pytest.mark.parametrize("use", [listen, publish])
def test_a_link_that_died_before_the_second_connection(
    redis_server: RedisServer, use: Callable[[RedisTransport], Awaitable[None]]
) -> None:
    """A frozen server takes connections and answers nothing, as a link that died without a word."""

    async def test() -> None:
        async with opened(f"{redis_server.url}?heartbeat={PATIENCE}&connect_timeout={PATIENCE}") as transport:
            await transport.declare(Topology.of([Queue("q")]))
            redis_server.freeze()
            began = time.monotonic()
            try:
                with pytest.raises(ConnectionLost):
                    async with asyncio.timeout(2 * BOUND):
                        await use(transport)
                assert time.monotonic() - began < BOUND
            finally:
                redis_server.thaw()

    live(test)


def test_a_connection_that_is_opened_when_its_session_is_lost_is_closed(redis_server: RedisServer) -> None:
    """The server answers late: the first connection was given up meanwhile, and nobody tends the second."""

    async def test() -> None:
        lost = asyncio.Event()
        url = f"{redis_server.url}?heartbeat=0.5&connect_timeout=30"
        transport = RedisTransport([url], clock=SystemClock(), on_lost=lambda _error: lost.set())
        await transport.open()
        redis_server.freeze()
        try:
            listening = asyncio.create_task(listen(transport))
            await lost.wait()
        finally:
            redis_server.thaw()
        with pytest.raises(ConnectionLost):
            await listening
        await transport.close()

    live(test)
    redis_server.until(lambda client: len(client.client_list()) == 1)


def test_who_has_nothing_to_do_looks_once_a_second(redis_server: RedisServer) -> None:
    """Each look is one script, which drops nothing from the index to begin with."""

    def looks() -> int:
        return redis_server.say("INFO", "commandstats").get("cmdstat_zrem", {"calls": 0})["calls"]

    async def test() -> None:
        async with opened(redis_server.url) as transport:
            await transport.declare(Topology.of([Queue("q")]))
            async with transport.consume(["q"], prefetch=1) as consumer:
                assert await consumer.receive(1, 0) == ()
                before = looks()
                for _ in range(3):
                    assert await consumer.receive(1, 1.0) == ()
                assert looks() - before == 3

    live(test)
