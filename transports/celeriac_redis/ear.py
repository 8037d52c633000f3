"""What is heard by pub/sub: one connection that is subscribed to all that anybody here listens to.

Protocol: https://redis.io/docs/latest/develop/pubsub/#format-of-pushed-messages (RESP2).
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from celeriac_redis.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis.asyncio import Redis

    from celeriac.errors import TransportError
    from celeriac_redis.clients import Server

T = TypeVar("T")
MESSAGE = b"message"


class Inbox(Generic[T]):
    """What came and was not read yet; an iterator that ends with the error that ended its connection."""

    def __init__(self) -> None:
        """Start empty."""
        self._items: deque[T] = deque()
        self._error: TransportError | None = None
        self._arrived = asyncio.Event()

    def put(self, item: T) -> None:
        """Add what came."""
        self._items.append(item)
        self._arrived.set()

    def fail(self, error: TransportError) -> None:
        """Let no more come."""
        self._error = error
        self._arrived.set()

    def __aiter__(self) -> Inbox[T]:
        """Return itself."""
        return self

    async def __anext__(self) -> T:
        """Wait for the next.

        Raises:
            TransportError: there will be none, for that reason.
        """
        while not self._items:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()


class Ear(Pipe):
    """The subscribed connection."""

    def __init__(self, client: Redis, server: Server, patience: float, lost: Callable[[TransportError], None]) -> None:
        """Open nothing yet; as `Pipe`."""
        super().__init__(client, server, patience, lost)
        self._listeners: dict[bytes, list[Callable[[bytes], None]]] = {}

    @asynccontextmanager
    async def hearing(self, channel: str, listener: Callable[[bytes], None]) -> AsyncIterator[None]:
        """Call ``listener`` with what is said on ``channel`` within the block; it must only take note.

        Raises:
            ConnectionLost: the server is gone.
        """
        name = channel.encode()
        listeners = self._listeners.setdefault(name, [])
        listeners.append(listener)
        try:
            await asyncio.shield(self.send("SUBSCRIBE", name))  # again, where somebody listens already: for the answer
            yield
        finally:
            listeners.remove(listener)
            if not listeners and self._listeners.get(name) is listeners:
                del self._listeners[name]
                self.tell("UNSUBSCRIBE", name)

    def answered(self, answer: Any) -> None:
        """Hand out a message; anything else is the answer to what was asked first."""
        if isinstance(answer, list) and answer[0] == MESSAGE:
            for listener in tuple(self._listeners.get(answer[1], ())):
                listener(answer[2])
        else:
            super().answered(answer)
