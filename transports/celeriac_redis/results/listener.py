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
from celeriac_redis.results.line import MANY, Line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence

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
        self._line: Line | None = None
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaving: set[bytes] = set()
        self._unsubscribing = False
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
            with suppress(ConnectionLost):  # then all is subscribed anew, and every watch told to look again
                await self._subscribe(line, [*watch.channels])
                await line.confirmed()
        except BaseException:
            self.leave(watch)
            raise
        return watch

    def leave(self, watch: Watch) -> None:
        """Hear no more."""
        for channel in watch.channels:
            others = self._watches.get(channel)
            if others is not None:
                others.discard(watch)
                if not others:
                    del self._watches[channel]
                    self._leaving.add(channel)
        if self._leaving and not self._unsubscribing and self._line is not None:
            self._unsubscribing = True
            self._start(self._unsubscribe(self._line))

    async def close(self) -> None:
        """Close the line, and fail whoever still waits. Idempotent."""
        self._closed = True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        line, self._line = self._line, None
        if line is not None:
            await line.close()
        self._fail(ConnectionLost("the result store was closed"))

    async def _ready(self) -> Line:
        """Return a line that is subscribed to all that is watched, though that may not be confirmed yet."""
        async with self._lock:
            if self._line is None or self._line.error is not None:
                if self._closed:
                    raise ConnectionLost("the result store is closed")
                line = Line(await self._find(), self._hear, self._ended)
                await line.open()
                self._line = line
                self._leaving.clear()
                await self._subscribe(line, [*self._watches])
            return self._line

    async def _subscribe(self, line: Line, channels: Sequence[bytes]) -> None:
        """Subscribe to those that are still watched when it is said."""
        for start in range(0, len(channels), MANY):
            await line.subscribe(channel for channel in channels[start : start + MANY] if channel in self._watches)

    async def _unsubscribe(self, line: Line) -> None:
        """Subscribe no more to those that nobody watches when it is said."""
        try:
            while self._leaving and line is self._line:
                some = [self._leaving.pop() for _ in range(min(MANY, len(self._leaving)))]
                await line.unsubscribe(channel for channel in some if channel not in self._watches)
        except TransportError:  # with the line all of it is gone
            self._leaving.clear()
        finally:
            self._unsubscribing = False

    def _hear(self, channel: bytes, message: bytes) -> None:
        for watch in self._watches.get(channel, ()):
            watch.hear((channel, message))

    def _ended(self, error: TransportError) -> None:
        if self._watches and not self._closed:
            self._start(self._revive(error))

    async def _revive(self, error: TransportError) -> None:
        """Subscribe to everything anew and have everyone look again; if that is not possible, fail them."""
        try:
            if not isinstance(error, ConnectionLost):
                raise error
            line = await self._ready()
            await self._subscribe(line, [*self._watches])  # whoever opened it may have been cancelled before
            await line.confirmed()
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

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
