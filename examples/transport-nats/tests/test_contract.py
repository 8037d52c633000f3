"""NATS keeps celeriac's two contracts."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from celeriac.testing import ResultStoreContract, TransportContract
from celeriac_nats.store import NatsResultStore
from celeriac_nats.transport import NatsTransport

if TYPE_CHECKING:
    from collections.abc import Callable


class TestNats(TransportContract):
    transport_class = NatsTransport

    @pytest.fixture
    def transport_urls(self, nats_server) -> list[str]:
        return [f"{nats_server.url}/kit?lease=3"]  # what a lost consumer held comes back within the kit's patience

    @pytest.fixture
    def lease_urls(self, nats_server) -> list[str]:
        return [f"{nats_server.url}/kit?lease=1"]

    @pytest.fixture
    def other_urls(self, nats_server) -> list[str]:
        return [f"{nats_server.url}/other"]

    @pytest.fixture
    def unreachable_urls(self) -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        return [f"nats://kit:open-sesame@127.0.0.1:{port}"]

    @pytest.fixture
    def refused_urls(self, nats_server) -> list[str]:
        return [f"nats://kit:open-sesame@127.0.0.1:{nats_server.port}"]

    @pytest.fixture
    def cut(self) -> Callable[[NatsTransport], None]:
        return sever


class TestNatsResults(ResultStoreContract):
    store_class = NatsResultStore

    @pytest.fixture
    def store_urls(self, nats_server) -> list[str]:
        return [f"{nats_server.url}/kit"]


def sever(transport: NatsTransport) -> None:
    """End the connection as a broken network would, without a word of NATS."""
    transport._office.link.nc._transport._io_writer.transport.abort()
