"""The result-store port on a `Shelf` of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost
from celeriac.results import ResultStore, StoreCapabilities
from celeriac_memory.address import parse
from celeriac_memory.bell import Inbox
from celeriac_memory.registry import shelf_named

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from celeriac.clock import Clock
    from celeriac.results import ResultRecord
    from celeriac.transport import Transport
    from celeriac_memory.shelf import Shelf


class MemoryResultStore(ResultStore):
    """``memory://name``: the results of that name in this process."""

    def __init__(self, urls: Sequence[str], *, clock: Clock, transport: Transport | None = None) -> None:
        """Keep the name."""
        super().__init__(urls, clock=clock, transport=transport)
        self._name = parse(self.urls).name
        self._shelf: Shelf | None = None

    def capabilities(self) -> StoreCapabilities:
        """Return what holds."""
        return StoreCapabilities(compare_and_set=True, shared=True, knows_unknown=True)

    async def open(self) -> None:
        """Find the shelf."""
        self._shelf = self._shelf or shelf_named(self._name)

    async def close(self) -> None:
        """Let go of it."""
        self._shelf = None

    async def sent(self, ids: Sequence[str]) -> None:
        """Write PENDING."""
        self._opened().sent(ids)

    async def put(self, records: Sequence[ResultRecord]) -> Sequence[bool]:
        """Store states."""
        return self._opened().put(records, self.clock.now())

    async def get(self, ids: Sequence[str]) -> Sequence[ResultRecord | None]:
        """Return what stands."""
        return self._opened().get(ids, self.clock.now())

    async def wait(self, ids: Sequence[str]) -> AsyncIterator[ResultRecord]:
        """Yield the final records as they come."""
        shelf, inbox, wanted = self._opened(), Inbox["ResultRecord"](), frozenset(ids)
        missing = set(wanted)
        shelf.watch(inbox.put, wanted, self.clock.now())
        try:
            while missing:
                record = await anext(inbox)
                if record.task_id in missing:
                    missing.discard(record.task_id)
                    yield record
        finally:
            shelf.unwatch(inbox.put, wanted)

    async def forget(self, ids: Sequence[str]) -> None:
        """Drop what is stored of ``ids``."""
        self._opened().forget(ids)

    async def join(self, group: str, member: str, size: int) -> bool:
        """Add ``member`` to ``group``."""
        return self._opened().join(group, member, size, self.clock.now())

    def _opened(self) -> Shelf:
        if self._shelf is None:
            raise ConnectionLost(f"the result store {self.urls[0]} is not open")
        return self._shelf
