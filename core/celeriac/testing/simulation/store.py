"""A result store that fails as the weather has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from celeriac.errors import ConnectionLost
from celeriac.results import ResultStore
from celeriac.testing.simulation.node import running_node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from celeriac.clock import Clock
    from celeriac.results import ResultRecord, StoreCapabilities
    from celeriac.transport import Transport

T = TypeVar("T")


class SimulatedStore(ResultStore):
    """The store, as one process reaches it."""

    def __init__(self, urls: Sequence[str], *, clock: Clock, transport: Transport | None = None) -> None:
        """Belong to the running process."""
        super().__init__(urls, clock=clock, transport=transport)
        self._node = running_node()
        self._outside = self._node.outside
        self._inner = self._outside.store()

    def capabilities(self) -> StoreCapabilities:
        """Return what holds."""
        return self._inner.capabilities()

    async def open(self) -> None:
        """Connect."""
        await self._inner.open()

    async def close(self) -> None:
        """Disconnect."""
        await self._inner.close()

    async def sent(self, ids: Sequence[str]) -> None:
        """Write PENDING."""
        await self._ask(lambda: self._inner.sent(ids))

    async def put(self, records: Sequence[ResultRecord]) -> Sequence[bool]:
        """Store states, and note in the ledger what was taken."""
        return await self._ask(lambda: self._put(records))

    async def _put(self, records: Sequence[ResultRecord]) -> Sequence[bool]:
        taken = await self._inner.put(records)
        for record, was_taken in zip(records, taken, strict=True):
            if was_taken:
                self._outside.ledger.kept(record)
        return taken

    async def get(self, ids: Sequence[str]) -> Sequence[ResultRecord | None]:
        """Return what stands."""
        return await self._ask(lambda: self._inner.get(ids))

    async def wait(self, ids: Sequence[str]) -> AsyncIterator[ResultRecord]:
        """Yield the final records as they come."""
        async for record in self._inner.wait(ids):
            yield record

    async def forget(self, ids: Sequence[str]) -> None:
        """Drop what is stored of ``ids``."""
        await self._ask(lambda: self._inner.forget(ids))

    async def join(self, group: str, member: str, size: int) -> bool:
        """Add ``member`` to ``group``."""
        return await self._ask(lambda: self._inner.join(group, member, size))

    async def _ask(self, effect: Callable[[], Awaitable[T]]) -> T:
        """Travel, let the store act, and come back; be killed or fail on either way."""
        await self._node.may_die("before it asks the store")
        await self._node.travel()
        self._may_fail()
        answer = await effect()
        await self._node.may_die("after the store has acted")
        await self._node.travel()
        self._may_fail()
        return answer

    def _may_fail(self) -> None:
        weather = self._node.weather
        if weather.store and self._node.random.random() < weather.store:
            raise ConnectionLost("the result store does not answer")
