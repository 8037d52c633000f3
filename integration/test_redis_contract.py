"""Redis keeps the transport contract, alone and in a fleet with Celery."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from conftest import require_redis_server, with_prefix
from redis_server import RedisServer

from celeriac.testing import TransportContract
from celeriac_redis.transport import RedisTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PASSWORD = "another-than-the-tests"  # noqa: S105 - of a server that lives as long as its test


@pytest.fixture(scope="module")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that wants a password."""
    require_redis_server()
    with RedisServer(tmp_path_factory.mktemp("redis"), password=PASSWORD) as server:
        yield server


class TestRedis(TransportContract):
    transport_class = RedisTransport

    @pytest.fixture
    def transport_urls(self, redis_url: str) -> list[str]:
        return [redis_url]

    @pytest.fixture
    def lease_urls(self, transport_urls: list[str]) -> list[str]:
        return [f"{transport_urls[0]}&lease=2"]

    @pytest.fixture
    def other_urls(self, redis_broker: str) -> list[str]:
        return [with_prefix(redis_broker, "celeriac-other:")]

    @pytest.fixture
    def unreachable_urls(self) -> list[str]:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        return [f"redis://:open-sesame@127.0.0.1:{port}"]

    @pytest.fixture
    def refused_urls(self, locked_server: RedisServer) -> list[str]:
        return [locked_server.url_as(":open-sesame@")]

    @pytest.fixture
    def cut(self) -> Callable[[RedisTransport], None]:
        return sever


class TestRedisInAFleet(TestRedis):
    @pytest.fixture
    def transport_urls(self, redis_url: str) -> list[str]:
        return [f"{redis_url}&fleet=celery"]


def sever(transport: RedisTransport) -> None:
    """End the connections as a broken network would: without a word."""
    session = transport._session
    assert session is not None
    for pipe in session._pipes():
        pipe._connection._writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
