"""Who waits for which channel, on one connection for all of them.

A message that is published while nobody listens is lost, so: subscribe, have it confirmed, and only then look at the
keys. When the connection is lost, the same again: subscribe anew, have it confirmed, and have everyone look again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, TransportError
from celeriac_redis.results.line import SubscribedLine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from celeriac_redis.clients import Server


class Watch:
    """What one waiter has heard and not yet taken."""

    def __init__(self, channels: Collection[bytes]) -> None:
        """Wait for ``channels``."""
        self.channels = frozenset(channels)
        self._heard: deque[tuple[bytes, bytes] | None] = deque()
        self._error: TransportError | None = None
        self._news = asyncio.Event()

    async def next(self) -> tuple[bytes, bytes] | None:
        """Return a channel and what was published on it, or ``None``: something may have been missed, look again.

        Raises:
            TransportError: the connection is lost, and there is no other.
        """
        while not self._heard:
            if self._error is not None:
                raise type(self._error)(str(self._error)) from self._error
            self._news.clear()
            await self._news.wait()
        return self._heard.popleft()

    def hear(self, news: tuple[bytes, bytes] | None) -> None:
        """Take ``news``."""
        self._heard.append(news)
        self._news.set()

    def fail(self, error: TransportError) -> None:
        """Raise ``error`` once what was heard is taken."""
        self._error = error
        self._news.set()


class Listener:
    """The watches of one store, and the line that they share: opened for the first, closed by `close`."""

    def __init__(self, find: Callable[[], Awaitable[Server]]) -> None:
        """Open nothing.

        Args:
            find: says where the server is now.
        """
        self._find = find
        self._watches: dict[bytes, set[Watch]] = {}
        self._line: SubscribedLine | None = None
        self._lock = asyncio.Lock()
        self._reviving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def enter(self, channels: Collection[bytes]) -> Watch:
        """Return a watch that hears whatever is published on ``channels`` from now on; `leave` it.

        Raises:
            ConnectionLost: nobody answers.
            AccessRefused: we may not listen there.
        """
        watch = Watch(channels)
        for channel in watch.channels:
            self._watches.setdefault(channel, set()).add(watch)
        try:
            line = await self._ready()
            line.subscribe(watch.channels)
            with suppress(ConnectionLost):  # then all is subscribed anew, and every watch told to look again
                await line.confirmed()
        except BaseException:
            self.leave(watch)
            raise
        return watch

    def leave(self, watch: Watch) -> None:
        """Hear no more."""
        alone = []
        for channel in watch.channels:
            watches = self._watches[channel]
            watches.discard(watch)
            if not watches:
                del self._watches[channel]
                alone.append(channel)
        if self._line is not None:
            self._line.unsubscribe(alone)

    async def close(self) -> None:
        """Close the line, and fail whoever still waits. Idempotent."""
        self._closed = True
        reviving = [*self._reviving]
        for task in reviving:
            task.cancel()
        await asyncio.gather(*reviving, return_exceptions=True)
        line, self._line = self._line, None
        if line is not None:
            await line.close()
        self._fail(ConnectionLost("the result store was closed"))

    async def _ready(self) -> SubscribedLine:
        """Return a line that is subscribed to all that is watched, though that may not be confirmed yet."""
        async with self._lock:
            line = self._line
            if line is not None:
                if line.error is None:
                    return line
                await line.close()
            line = SubscribedLine(await self._find(), self._hear, self._lost)
            await line.open()
            if self._closed:  # meanwhile
                await line.close()
                raise ConnectionLost("the result store is closed")
            self._line = line
            line.subscribe(self._watches)
            return line

    def _hear(self, channel: bytes, message: bytes) -> None:
        for watch in self._watches.get(channel, ()):
            watch.hear((channel, message))

    def _lost(self, error: TransportError) -> None:
        if self._watches and not self._closed:
            task = asyncio.get_running_loop().create_task(self._revive(error))
            self._reviving.add(task)
            task.add_done_callback(self._reviving.discard)

    async def _revive(self, error: TransportError) -> None:
        """Subscribe to everything anew and have everyone look again; if that is not possible, fail them."""
        try:
            if not isinstance(error, ConnectionLost):
                raise error  # it would be refused again
            await (await self._ready()).confirmed()
        except TransportError as reason:
            self._fail(reason)
        else:
            for watch in self._all():
                watch.hear(None)

    def _fail(self, error: TransportError) -> None:
        for watch in self._all():
            watch.fail(error)

    def _all(self) -> set[Watch]:
        return {watch for watches in self._watches.values() for watch in watches}
