"""Waking a coroutine from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from celeriac.clock import Clock
    from celeriac.errors import TransportError

T = TypeVar("T")


class Bell:
    """Rung from any thread, heard on the loop that made it."""

    def __init__(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake whoever waits, or the next to wait."""
        if threading.get_ident() == self._thread:
            self._rung.set()
            return
        with suppress(RuntimeError):  # that loop is closed: nobody waits there any more
            self._loop.call_soon_threadsafe(self._rung.set)

    def silence(self) -> None:
        """Forget that it was rung."""
        self._rung.clear()

    async def wait(self) -> None:
        """Return once it was rung since `silence`."""
        await self._rung.wait()

    async def wait_at_most(self, seconds: float, clock: Clock) -> None:
        """Return once it was rung, or after ``seconds`` of ``clock``."""
        tasks = (asyncio.ensure_future(self._rung.wait()), asyncio.ensure_future(clock.sleep(seconds)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Inbox(Generic[T]):
    """An endless async iterator, filled from any thread."""

    def __init__(self) -> None:
        """Belong to the running loop."""
        self._bell = Bell()
        self._items: deque[T] = deque()
        self._error: TransportError | None = None

    def put(self, item: T) -> None:
        """Add an item."""
        self._items.append(item)
        self._bell.ring()

    def fail(self, error: TransportError) -> None:
        """Raise ``error`` once the items are taken."""
        self._error = error
        self._bell.ring()

    def __aiter__(self) -> Inbox[T]:
        """Return itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next item, once there is one."""
        while not self._items:
            if self._error is not None:
                raise self._error
            self._bell.silence()
            if not self._items:  # one may have come, and rung, just before the silence
                await self._bell.wait()
        return self._items.popleft()
