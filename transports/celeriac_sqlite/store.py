"""The result-store port on one SQLite file, which may be the broker's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost
from celeriac.results import ResultStore, StoreCapabilities
from celeriac.states import FINAL
from celeriac_sqlite.address import Address
from celeriac_sqlite.doorbell import RESULTS
from celeriac_sqlite.operations import results
from celeriac_sqlite.operations.follow import mark
from celeriac_sqlite.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from celeriac.clock import Clock
    from celeriac.errors import TransportError
    from celeriac.results import ResultRecord
    from celeriac.transport import Transport


class SqliteResultStore(ResultStore):
    """``sqlite:///file.db?synchronous=full``. A final state is kept for a day, any other for 30 days."""

    def __init__(self, urls: Sequence[str], *, clock: Clock, transport: Transport | None = None) -> None:
        """Keep the file's name."""
        super().__init__(urls, clock=clock, transport=transport)
        self._address = Address.of(self.urls)
        self._session: Session | None = None

    def capabilities(self) -> StoreCapabilities:
        """Return what holds: everything."""
        return StoreCapabilities(compare_and_set=True, shared=True, knows_unknown=True)

    async def open(self) -> None:
        """Open the file, making it if need be."""
        if self._session is None or not self._session.is_open:
            self._session = await Session.open(self._address, self._lost)

    async def close(self) -> None:
        """Let go of the file."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def sent(self, ids: Sequence[str]) -> None:
        """Write PENDING, where nothing stands yet."""
        await self.put(results.pending(ids))

    async def put(self, records: Sequence[ResultRecord]) -> Sequence[bool]:
        """Store states."""
        if not records:
            return []
        call = results.Put(records, self.clock)
        stored: Sequence[bool] = await self._opened().write(results.put, call, weight=len(records))
        return stored

    async def get(self, ids: Sequence[str]) -> Sequence[ResultRecord | None]:
        """Return what stands."""
        found: Sequence[ResultRecord | None] = await self._opened().read(results.get, results.Get(ids, self.clock))
        return found

    async def wait(self, ids: Sequence[str]) -> AsyncIterator[ResultRecord]:
        """Yield the final records as they come: those that stand, then each as the doorbell tells of it."""
        session = self._opened()
        missing, due = set(ids), [*dict.fromkeys(ids)]
        with session.watch(RESULTS) as event:
            after = await session.read(mark, None)
            while missing:
                for record in await self.get(due) if due else ():
                    if record is not None and record.state in FINAL:
                        missing.discard(record.task_id)
                        yield record
                if not missing:
                    return
                event.clear()  # before reading: what is written meanwhile sets it again
                last, changed = await session.read(results.finals_after, after)
                due = [one for one in changed if one in missing]
                if last == after:
                    await event.wait()
                after = last

    async def forget(self, ids: Sequence[str]) -> None:
        """Drop what is stored of ``ids``."""
        await self._opened().write(results.forget, ids, weight=len(ids))

    async def join(self, group: str, member: str, size: int) -> bool:
        """Add ``member`` to ``group``."""
        complete: bool = await self._opened().write(results.join, results.Join(group, member, size, self.clock))
        return complete

    def _lost(self, error: TransportError) -> None:
        """Let the next call tell it: a store has nobody to call."""

    def _opened(self) -> Session:
        if self._session is None:
            raise ConnectionLost(f"the result store in {self._address.path} is not open")
        return self._session
