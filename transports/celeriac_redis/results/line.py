"""A store's connections: one for commands, one that is subscribed. Each ends once and for all when it is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConnectionLost, TransportError
from celeriac_redis.clients import client
from celeriac_redis.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celeriac_redis.clients import Server

MANY = 1000  # channels in one command
TICKS = 4  # in a heartbeat
GOODBYE = 1.0  # seconds
MESSAGE = b"message"
CONFIRMATIONS = (b"subscribe", b"unsubscribe")


class Line(Pipe):
    """A pipe that looks after itself: one that is silent for two heartbeats is lost."""

    def __init__(self, server: Server, lost: Callable[[TransportError], None]) -> None:
        """Open nothing.

        Args:
            server: where to.
            lost: called once when it is lost, not when it is closed.
        """
        self._client = client(server, connections=1, patient=True)  # it only knows how to connect
        self._heartbeat = server.address.options.heartbeat
        super().__init__(self._client, server, self._heartbeat, lost)

    async def open(self) -> None:
        """Connect.

        Raises:
            ConnectionLost: nobody answers in time.
            AccessRefused: we are refused.
        """
        try:
            await super().open()
        except BaseException:
            await self.close()
            raise
        self._tasks.append(asyncio.create_task(self._tick()))

    async def close(self) -> None:
        """Hang up; over TLS the server is given a second to say goodbye too."""
        writer = getattr(self._connection, "_writer", None)
        await super().close()
        if writer is None:
            return
        try:
            async with asyncio.timeout(GOODBYE):
                await writer.wait_closed()
        except OSError:  # a TimeoutError is one
            writer.transport.abort()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat / TICKS)
            self.tend(self._heartbeat)


class SubscribedLine(Line):
    """A line that hears what is published.

    redis-py's own ``PubSub`` connects again by itself, without a word; what was published meanwhile is then missed.

    Attributes:
        channels: what was subscribed to, confirmed or not.
    """

    def __init__(
        self, server: Server, hear: Callable[[bytes, bytes], None], lost: Callable[[TransportError], None]
    ) -> None:
        """Open nothing; ``hear`` is called with channel and message."""
        super().__init__(server, lost)
        self.channels: set[bytes] = set()
        self._hear = hear

    def subscribe(self, channels: Iterable[bytes]) -> None:
        """Subscribe to those that it does not have yet; `confirmed` says when they are."""
        fresh = [channel for channel in channels if channel not in self.channels]
        self.channels.update(fresh)
        self._say(b"SUBSCRIBE", fresh)

    def unsubscribe(self, channels: Iterable[bytes]) -> None:
        """Subscribe no more to those that it has."""
        known = [channel for channel in channels if channel in self.channels]
        self.channels.difference_update(known)
        self._say(b"UNSUBSCRIBE", known)

    async def confirmed(self) -> None:
        """Return once the server has done all that was said to it so far.

        Raises:
            TransportError: the line was lost before.
        """
        await self.send("PING")

    def answered(self, answer: Any) -> None:
        """Hear a message; a confirmation answers nobody's question; an error is that of a subscription."""
        if isinstance(answer, list) and answer[0] == MESSAGE:
            self._hear(answer[1], answer[2])
        elif isinstance(answer, Exception):
            self.fail(answer if isinstance(answer, TransportError) else ConnectionLost(f"{self._server}: {answer}"))
        elif not (isinstance(answer, list) and answer[0] in CONFIRMATIONS):
            super().answered(answer)

    def _say(self, command: bytes, channels: list[bytes]) -> None:
        if self.error is None:
            for start in range(0, len(channels), MANY):
                self._outgoing += self._connection.pack_command(command, *channels[start : start + MANY])
                self._wanted.set()
