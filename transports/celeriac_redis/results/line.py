"""One pub/sub connection: subscribes, tells what it hears, and notices when the link is dead.

redis-py's own ``PubSub`` connects again by itself, without a word; what was published meanwhile is then missed. This
one ends instead, once and for all, and says so.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, TransportError
from celeriac_redis.clients import connection
from celeriac_redis.errors import mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from celeriac_redis.clients import Server

logger = logging.getLogger("celeriac.redis")

MANY = 1000  # channels in one command


class Line:
    """Open from `open` until `close`, or until it is lost.

    Attributes:
        server: where it leads.
        channels: what was subscribed to on it, confirmed or not.
        error: why it is lost; ``None`` while it is not.
    """

    def __init__(
        self, server: Server, hear: Callable[[bytes, bytes], None], on_end: Callable[[TransportError], None]
    ) -> None:
        """Open nothing.

        Args:
            server: where to.
            hear: called with channel and message.
            on_end: called once when it is lost, not when it is closed.
        """
        self.server = server
        self.channels: set[bytes] = set()
        self.error: TransportError | None = None
        self._hear = hear
        self._on_end = on_end
        self._heartbeat = server.address.options.heartbeat
        self._connection = connection(server)
        self._fences: dict[bytes, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and begin to listen.

        Raises:
            ConnectionLost: nobody answers.
            AccessRefused: we are refused.
        """
        try:
            with mapped(self.server):
                async with asyncio.timeout(self.server.address.options.connect_timeout):
                    await self._connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await self._connection.disconnect(nowait=True)
            raise
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        """Let go of it, without telling `on_end`. Idempotent."""
        self._end(ConnectionLost(f"{self.server}: closed"))
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        await self._connection.disconnect(nowait=True)

    async def subscribe(self, channels: Iterable[bytes]) -> None:
        """Subscribe to those of at most `MANY` that it does not have yet; `confirmed` says when they are.

        What is said is on its way, in order, before this waits for anything.
        """
        fresh = [channel for channel in channels if channel not in self.channels]
        self.channels.update(fresh)
        if fresh:
            await self._say("SUBSCRIBE", *fresh)

    async def unsubscribe(self, channels: Iterable[bytes]) -> None:
        """Subscribe no more to those of at most `MANY` that it has; as `subscribe`."""
        known = [channel for channel in channels if channel in self.channels]
        self.channels.difference_update(known)
        if known:
            await self._say("UNSUBSCRIBE", *known)

    async def confirmed(self) -> None:
        """Return once the server has done all that was said to it so far.

        Raises:
            TransportError: the line was lost before.
        """
        token = b"%d" % next(self._numbers)
        done = self._fences[token] = asyncio.get_running_loop().create_future()
        try:
            await self._say("PING", token)
            await done
        finally:
            self._fences.pop(token, None)

    async def _say(self, *command: bytes | str) -> None:
        if self.error is not None:  # the connection would open itself again
            raise ConnectionLost(str(self.error)) from self.error
        try:
            with mapped(self.server):
                await self._connection.send_command(*command, check_health=False)
        except BaseException as error:  # a cancelled one, too, has closed the connection
            lost = error if isinstance(error, TransportError) else ConnectionLost(f"{self.server}: interrupted")
            self._lost(lost)
            raise

    async def _read(self) -> None:
        """Read until the line is lost, and tell so, whatever the reason."""
        try:
            with mapped(self.server):
                await self._read_on()
        except TransportError as error:
            self._lost(error)
        except Exception as error:  # nobody may wait for a line that nobody reads
            logger.exception("cannot go on reading from %s", self.server)
            self._lost(_caused(ConnectionLost(f"{self.server}: {error!r}"), error))
        with suppress(Exception):  # it is lost anyway
            await self._connection.disconnect(nowait=True)

    async def _read_on(self) -> None:
        """Read; a line that is silent for two heartbeats is lost."""
        asked = False
        while True:
            said = await self._connection.read_response(timeout=self._heartbeat, disconnect_on_error=False)
            if said is not None:
                asked = False
                self._told(said)
            elif asked:
                raise ConnectionLost(f"{self.server}: no answer within {self._heartbeat:g} s")
            else:
                asked = True
                await self._say("PING", b"")

    def _told(self, said: Any) -> None:
        """Take one message: a published one, the answer to a ping, or a confirmation, of which nobody wants to know."""
        match said:
            case [b"message", bytes(channel), bytes(message)]:
                self._hear(channel, message)
            case [b"pong", bytes(token)] | bytes(token):  # the second form as long as nothing is subscribed to
                fence = self._fences.get(token)
                if fence is not None and not fence.done():
                    fence.set_result(None)

    def _lost(self, error: TransportError) -> None:
        if self.error is None:
            self._end(error)
            self._on_end(error)

    def _end(self, error: TransportError) -> None:
        if self.error is None:
            self.error = error
        for fence in self._fences.values():
            if not fence.done():
                fence.set_exception(error)
                fence.exception()  # read here: whoever waits for it may be gone


def _caused(error: ConnectionLost, cause: BaseException) -> ConnectionLost:
    error.__cause__ = cause
    return error
