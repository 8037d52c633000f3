"""An endless iterator over rows with rising numbers, woken by the doorbell."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")


class Feed(Generic[T]):
    """What comes after a number, item by item. Cancelling a wait loses nothing."""

    def __init__(
        self, after: int, fetch: Callable[[int], Awaitable[Sequence[tuple[int, T]]]], event: asyncio.Event
    ) -> None:
        """Read with ``fetch(after)`` whenever ``event`` is set."""
        self._after = after
        self._fetch = fetch
        self._event = event
        self._items: deque[T] = deque()

    def __aiter__(self) -> Feed[T]:
        """Return itself."""
        return self

    async def __anext__(self) -> T:
        """Return the next item, once there is one.

        Raises:
            ConnectionLost: the database is lost, or was closed.
        """
        while not self._items:
            self._event.clear()  # before reading: what is written meanwhile sets it again
            await self.read()
            if not self._items:
                await self._event.wait()
        return self._items.popleft()

    async def read(self) -> bool:
        """Read what is there now; return whether there was anything."""
        rows = await self._fetch(self._after)
        if rows:
            self._after = rows[-1][0]
            self._items.extend(item for _, item in rows)
        return bool(rows)

    def take(self) -> list[T]:
        """Return what was read and not yet handed out."""
        items = [*self._items]
        self._items.clear()
        return items
