"""One connection to a NATS server, from `open` until it is closed or lost."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import nats.errors
from nats.aio.client import Client

from celeriac.errors import AccessRefused, ConnectionLost
from celeriac_nats.confirms import Confirms
from celeriac_nats.failures import mapped, translated
from celeriac_nats.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from nats.js import JetStreamContext

    from celeriac.errors import TransportError
    from celeriac_nats.address import Address

T = TypeVar("T")
CONNECT_WITHIN = 5  # seconds, each server


class Link:
    """Everybody who waits for the server waits by way of `ask`, and hears there when the connection is lost.

    nats-py could reconnect by itself; it may not. The core opens again, declares again and enters new consumers, and so
    knows what it has lost.

    Attributes:
        address: where it leads to.
        names: what things are called there.
        nc: the driver's client.
        js: its JetStream.
        confirms: publishes, with the answers of the streams.
    """

    def __init__(self, address: Address, lost: Callable[[TransportError], None]) -> None:
        """Belong to the running loop; ``lost`` is called once, unless the link is closed first."""
        self.address = address
        self.names = Names(address.namespace)
        self.nc: Client
        self.js: JetStreamContext
        self.confirms: Confirms
        self._end: asyncio.Future[TransportError] = asyncio.get_running_loop().create_future()
        self._lost = lost
        self._last_error: BaseException | None = None
        self._connected = False

    async def connect(self) -> None:
        """Connect to the first server that answers.

        Raises:
            AccessRefused: a server refused us.
            ConnectionLost: none answered.
        """
        doing, causes = f"cannot connect to {self.address.shown}", list[BaseException]()
        for server in self.address.servers:
            try:
                self.nc = await self._connect_or_hear_why(server)
            except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
                causes.append(error)
            else:
                self._connected = True
                self.js, self.confirms = self.nc.jetstream(), Confirms(self.nc)
                return
        for cause in causes:
            if isinstance(refusal := translated(cause, doing), AccessRefused):
                raise refusal from cause
        raise translated(causes[-1], doing) from causes[-1]

    async def _connect_or_hear_why(self, server: str) -> Client:
        """Connect; where we are cut off, ask once more.

        A server that refuses us hangs up, and the driver, which has sent its first PING by then, may see that before it
        reads why. In verbose mode it reads the answer before it sends more.
        """
        try:
            return await self._connect(server)
        except ConnectionError:
            await _hang_up(await self._connect(server, verbose=True))
            raise

    async def _connect(self, server: str, *, verbose: bool = False) -> Client:
        self._last_error = None
        tls: dict[str, Any] = {"tls": ssl.create_default_context()} if self.address.tls else {}
        client = Client()
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await client.connect(
                    server,
                    name="celeriac",
                    verbose=verbose,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    ping_interval=self.address.heartbeat,  # type: ignore[arg-type] # nats-py sleeps so long: any number will do
                    max_outstanding_pings=2,
                    error_cb=self._heard_of,
                    closed_cb=self._closed,
                    **tls,
                )
        except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
            why = self._last_error or error  # hanging up may find another one, that says less
            await _hang_up(client)
            raise why from None
        except BaseException:
            await _hang_up(client)
            raise
        return client

    @property
    def ended(self) -> bool:
        """It was closed or lost."""
        return self._end.done()

    def check(self) -> None:
        """Raise what ended the link, if it has ended."""
        if self._end.done():
            raise ConnectionLost(str(self._end.result()))

    async def ask(self, answer: Coroutine[Any, Any, T], doing: str) -> T:
        """Return the server's answer.

        Raises:
            ConnectionLost: the link ended before it came.
            TransportError: the driver's error, mapped; it begins with ``doing``.
        """
        asking = asyncio.create_task(answer)
        try:
            await asyncio.wait((asking, self._end), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                self.check()
            with mapped(doing):
                return await asking
        finally:
            asking.cancel()

    async def say(self, subject: str, body: bytes, reply: str = "") -> None:
        """Write a message, without waiting for any answer.

        Raises:
            ConnectionLost: it cannot be written.
        """
        with mapped("cannot write to the server"):
            await self.nc.publish(subject, body, reply=reply)

    async def close(self) -> None:
        """Let go of the connection; what was written before is sent."""
        self.end(ConnectionLost(f"the connection to {self.address.shown} was closed"))
        await _hang_up(self.nc)

    def end(self, error: TransportError) -> None:
        """Let everybody who waits raise ``error``."""
        if not self._end.done():
            self._end.set_result(error)

    def lose(self, error: TransportError) -> None:
        """Give up a connection that does not serve us any more, as if the server had ended it."""
        if not self._end.done():
            self.end(error)
            self._lost(error)

    async def _heard_of(self, error: Exception) -> None:
        self._last_error = error

    async def _closed(self) -> None:
        if self._connected:  # and not one of several servers that could not be reached
            self.lose(ConnectionLost(f"lost {self.address.shown}: {self._last_error or 'the server hung up'}"))


async def _hang_up(client: Client) -> None:
    with suppress(nats.errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(CONNECT_WITHIN):
            await client.close()
