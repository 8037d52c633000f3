"""Signals: a direct exchange, and for each listener a queue that goes with its connection.

The exchange is direct, so that a topic is compared and never taken for a pattern.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from celeriac_amqp.declaring import CLASSIC

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from celeriac.errors import TransportError
    from celeriac_amqp.connection import Session

EXCHANGE = "celeriac.signals"
QUEUES_TOPIC = "celeriac.queues"
"""What was done to a queue, for its consumers: ``{"queue": name, "event": "paused" | "resumed" | "deleted"}``."""


class Inbox:
    """What came and was not read yet; an iterator that ends with the error that ended its channel."""

    def __init__(self) -> None:
        """Start empty."""
        self._items: deque[bytes] = deque()
        self._error: TransportError | None = None
        self._arrived = asyncio.Event()

    def put(self, item: bytes) -> None:
        """Add what came."""
        self._items.append(item)
        self._arrived.set()

    def end(self, error: TransportError) -> None:
        """Let no more come."""
        self._error = error
        self._arrived.set()

    async def all_within(self, seconds: float) -> list[bytes]:
        """Wait until something has come, or for so long; return all of it.

        Raises:
            TransportError: nothing more will come, for that reason.
        """
        if not self._items and self._error is None:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
        if self._error is not None:
            raise self._error
        came, self._items = list(self._items), deque()
        return came

    def __aiter__(self) -> Inbox:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
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


async def make_exchange(session: Session) -> None:
    """Declare the exchange that signals go through."""
    async with session.scratch() as channel:
        await channel.call("exchange_declare", EXCHANGE, "direct", durable=True)


@asynccontextmanager
async def listening(control: Callable[[], Session], topic: str) -> AsyncIterator[Inbox]:
    """Hear what is signalled under ``topic`` from now on."""
    session = control()
    inbox = Inbox()

    def heard(_raw: object, _method: Any, _properties: bytes, body: bytes) -> None:
        inbox.put(body)

    await make_exchange(session)
    async with session.scratch() as channel:
        channel.on_closed = inbox.end
        answer = await channel.call("queue_declare", "", exclusive=True, auto_delete=True, arguments=dict(CLASSIC))
        name = answer.method.queue
        await channel.call("queue_bind", name, EXCHANGE, topic)
        await channel.call("basic_consume", name, heard, auto_ack=True)
        yield inbox
