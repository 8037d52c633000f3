"""Answers ``GET /live`` and ``GET /ready`` over HTTP/1.1 (RFC 9112), for those who watch over processes.

200 says yes, 503 no; the body tells why, as JSON. Nothing else is served.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING

from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from celeriac.clock import Clock
    from celeriac.worker.reporter import Reporter

PATIENCE_SECONDS = 5.0
LONGEST_REQUEST = 8192
END = b"\r\n\r\n"


@asynccontextmanager
async def probes(reporter: Reporter, port: int | None, clock: Clock) -> AsyncIterator[None]:
    """Serve while the block lasts, on every address of the machine; with ``None`` serve nothing.

    Args:
        reporter: knows how the worker is, and is told the port.
        port: 0 takes a free one.
        clock: by which it is judged.

    Raises:
        ConfigurationError: the port cannot be had.
    """
    if port is None:
        yield
        return
    responder = Probes(reporter, clock)
    try:
        server = await asyncio.start_server(responder.answer, sock=_listener(port), limit=LONGEST_REQUEST)
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else error
        raise ConfigurationError(f"--health-port {port}: {said}; give another, or 0 for a free one") from error
    reporter.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        await responder.hang_up()


class Probes:
    """Answers connections, each of which asks once."""

    def __init__(self, reporter: Reporter, clock: Clock) -> None:
        """Answer by what ``reporter`` knows."""
        self._reporter = reporter
        self._clock = clock
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def hang_up(self) -> None:
        """End what is open; asyncio would tell of a cancelled one as of an error."""
        answering = [task for task in self._open if task is not None]
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*answering)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read a request and answer it; whoever says nothing for 5 s, or no HTTP, is hung up on."""
        self._open[asyncio.current_task()] = writer
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                request = await reader.readuntil(END)
                writer.write(self.respond(request))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
            del self._open[asyncio.current_task()]

    def respond(self, request: bytes) -> bytes:
        """Return the response to a request."""
        method, _, rest = request.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path not in {"/live", "/ready"}:
            return _response(HTTPStatus.NOT_FOUND, {"problems": ["there are /live and /ready"]})
        if method != "GET":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, {"problems": ["only GET is answered"]}, "Allow: GET\r\n")
        health, now = self._reporter.health, self._clock.monotonic()
        problems = health.not_live(now) if path == "/live" else health.not_ready(now)
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        return _response(status, {**asdict(health), "problems": problems})


def _listener(port: int) -> socket.socket:
    """Return a listening socket, of both families where the machine has them."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _response(status: HTTPStatus, told: dict[str, object], more: str = "") -> bytes:
    body = json.dumps(told).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n"
    )
    return head.encode("latin-1") + body
