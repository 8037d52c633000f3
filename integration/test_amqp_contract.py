"""RabbitMQ keeps the transport contract."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from celeriac.testing import TransportContract
from celeriac_amqp.transport import AmqpTransport

if TYPE_CHECKING:
    from collections.abc import Callable


class TestAmqp(TransportContract):
    transport_class = AmqpTransport

    @pytest.fixture
    def transport_urls(self, amqp_vhost: str) -> list[str]:
        return [amqp_vhost]

    @pytest.fixture
    def other_urls(self, amqp_other_vhost: str) -> list[str]:
        return [amqp_other_vhost]

    @pytest.fixture
    def unreachable_urls(self) -> list[str]:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        return [f"amqp://guest:open-sesame@127.0.0.1:{port}"]

    @pytest.fixture
    def refused_urls(self, amqp_broker: str) -> list[str]:
        parts = urlsplit(amqp_broker)
        return [f"amqp://guest:open-sesame@{parts.hostname}:{parts.port or 5672}"]

    @pytest.fixture
    def cut(self) -> Callable[[AmqpTransport], None]:
        return sever


def sever(transport: AmqpTransport) -> None:
    """End both connections as a broken network would: without a word of AMQP."""
    for session in (transport._in, transport._publisher._session):
        if session is not None and session.error is None:
            session.raw._transport._sock.shutdown(socket.SHUT_RDWR)
