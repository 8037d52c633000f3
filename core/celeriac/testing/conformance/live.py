"""The kit against a broker that already runs, for ``celeriac plugins check``; ``__main__`` beside it runs it."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import ConfigurationError, TransportError
from celeriac.plugins import Plugins
from celeriac.testing.conformance.contract import ResultStoreContract, TransportContract
from celeriac.testing.faults import FaultProxy
from celeriac.topology import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.transport import Transport

SHORT_LEASE = 2  # seconds


class TestTransport(TransportContract):
    """The transport that is plugged in for the URL's scheme."""

    _proxied: str | None = None
    _proxies: dict[Transport, FaultProxy]

    @pytest.fixture
    def transport_urls(self, order: dict[str, Any], request: pytest.FixtureRequest) -> Sequence[str]:
        """As they were given; where connections are to be lost, with a lease that can be waited for."""
        urls = list(order["urls"])
        return with_short_lease(urls) or urls if _is_about_losses(request) else urls

    @pytest.fixture
    def cut(self, request: pytest.FixtureRequest, transport_urls: Sequence[str]) -> Callable[[Transport], None] | None:
        """Reset what goes through a proxy, where a URL says the port; only those tests go through one."""
        if not _is_about_losses(request) or not passes_a_proxy(transport_urls[0]):
            return None
        self._proxied, self._proxies = transport_urls[0], {}
        return lambda transport: self._proxies[transport].reset(new=False)

    def make_transport(self, urls: Sequence[str], on_lost: Callable[[TransportError], None]) -> Transport:
        """Construct a transport, behind a proxy of its own where its connection may be cut."""
        if self._proxied is None:
            return super().make_transport(urls, on_lost)
        proxy = self.stack.enter_context(FaultProxy(self._proxied))
        transport = super().make_transport([proxy.url(self._proxied)], on_lost)
        self._proxies[transport] = proxy
        return transport

    @pytest.fixture
    def lease_urls(self, transport_urls: Sequence[str]) -> Sequence[str] | None:
        """The same with a short lease, where the transport knows that option as most do."""
        return with_short_lease(transport_urls)

    @pytest.fixture
    def unreachable_urls(self, transport_urls: Sequence[str]) -> Sequence[str] | None:
        """A port of this machine where nobody listens, where a URL has a host at all."""
        return nobody_at(transport_urls[0])


class TestResultStore(ResultStoreContract):
    """The result store that is plugged in for the same scheme, if there is one."""

    @pytest.fixture
    def store_urls(self, order: dict[str, Any]) -> Sequence[str]:
        """As they were given."""
        if not order["store"]:
            pytest.skip("the plugin gives no result store of this scheme")
        return list(order["urls"])

    async def transport(self) -> Transport:
        """Return an open transport of the same URL, for stores that live on one."""
        transport = Plugins().transport(self.urls[0])(self.urls, clock=SystemClock(), on_lost=lambda _error: None)
        self.stack.push_async_callback(transport.close)
        await transport.open()
        return transport


def passes_a_proxy(url: str) -> bool:
    """Return whether a transport opens through one; with TLS it may not, as the names differ."""
    if urlsplit(url).port is None:
        return False

    async def open_and_close(proxied: str) -> None:
        transport = Plugins().transport(url)([proxied], clock=SystemClock(), on_lost=lambda _error: None)
        try:
            await transport.open()
        finally:
            await transport.close()

    with FaultProxy(url) as proxy:
        try:
            asyncio.run(open_and_close(proxy.url(url)))
        except TransportError:
            return False
        return True


def _is_about_losses(request: pytest.FixtureRequest) -> bool:
    return any(clause.startswith("LOSS-") for clause in getattr(request.function, "clauses", ()))


def with_short_lease(urls: Sequence[str]) -> Sequence[str] | None:
    """Return ``urls`` with a lease of `SHORT_LEASE`, or ``None`` where there is no such thing."""
    short = [f"{url}{'&' if urlsplit(url).query else '?'}lease={SHORT_LEASE}" for url in urls]
    try:
        transport = Plugins().transport(urls[0])(short, clock=SystemClock(), on_lost=lambda _error: None)
    except ConfigurationError:
        return None
    lease = transport.capabilities(Queue("kit")).lease
    return short if lease is not None and lease.total_seconds() == SHORT_LEASE else None


def nobody_at(url: str) -> Sequence[str] | None:
    """Return ``url`` with a port where nobody listens, and a password to look for in errors."""
    parts = urlsplit(url)
    if parts.port is None:  # a name of a file, or of something that is no server
        return None
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    return [urlunsplit((parts.scheme, f"kit:open-sesame@127.0.0.1:{port}", parts.path, parts.query, ""))]
