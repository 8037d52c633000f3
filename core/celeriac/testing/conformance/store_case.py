"""What every test of the result-store contract uses."""

from __future__ import annotations

import asyncio
import functools
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest

from celeriac.clock import SystemClock
from celeriac.plugins import Plugins
from celeriac.results import ResultRecord
from celeriac.states import SUCCESS
from celeriac.testing.conformance.case import Case, eventually, patience, unique

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from celeriac.results import ResultStore
    from celeriac.transport import Transport

S = TypeVar("S", bound="StoreCase")


class StoreCase(Case):
    """Opens stores, makes records, and asks until an answer comes.

    Attributes:
        store_class: the author's class; by default the one that is plugged in for the URL's scheme.
        urls: from the fixture ``store_urls``.
    """

    store_class: ClassVar[type[ResultStore] | None] = None
    urls: Sequence[str]

    @pytest.fixture(autouse=True)
    def _given(self, store_urls: Sequence[str]) -> None:
        self.prepare(store_urls)

    def prepare(self, urls: Sequence[str]) -> None:
        """Take what the fixture gives."""
        self.urls = list(urls)

    async def transport(self) -> Transport | None:
        """Return the open transport of a process, for a store that lives on the broker; closed by `stack`."""
        return None

    def construct(self, urls: Sequence[str], transport: Transport | None) -> ResultStore:
        """Construct a store; override it where its class is not enough."""
        tried = self.store_class or Plugins().result_store(urls[0])
        return tried(urls, clock=SystemClock(), transport=transport)

    async def make(self) -> ResultStore:
        """Return a new store that is closed when the test ends."""
        store = self.construct(self.urls, await self.transport())
        self.stack.push_async_callback(store.close)
        return store

    async def open(self) -> ResultStore:
        """Return one more open store, as another process would have it."""
        store = await self.make()
        await store.open()
        return store

    async def asked(self, caller: ResultStore, count: int = 1) -> list[str]:
        """Return ids of tasks whose results ``caller`` wants."""
        ids = [unique("task") for _ in range(count)]
        await caller.sent(ids)
        self.stack.push_async_callback(_forget, caller, ids)
        return ids

    async def seen(self, store: ResultStore, task_id: str, state: str = SUCCESS) -> ResultRecord:
        """Return the record of ``task_id`` once it is in ``state``: at once from a store that keeps it."""

        async def look() -> ResultRecord | None:
            return (await store.get([task_id]))[0]

        found = await eventually(look, lambda record: record is not None and record.state == state)
        assert found is not None
        return found


async def _forget(store: ResultStore, ids: Sequence[str]) -> None:
    await store.open()  # a test may have closed it, and for good
    await store.forget(ids)
    await store.close()


def record(task_id: str, caller: ResultStore, state: str = SUCCESS, **fields: Any) -> ResultRecord:
    """Return a record of ``task_id`` for its caller."""
    value = {"task_id": task_id, "attempt": 1, "state": state, "reply_to": caller.reply_to, "body": b'{"value": 1}'}
    return ResultRecord(**{**value, **fields})


def value_of(found: ResultRecord | None) -> Any:
    """Return the decoded JSON body."""
    assert found is not None
    return json.loads(found.body)


async def collected(store: ResultStore, ids: Sequence[str]) -> list[ResultRecord]:
    """Return all that `wait` yields."""
    async with asyncio.timeout(patience.get()):
        return [one async for one in store.wait(ids)]


def stores_that(
    name: str, *, declared: bool = True
) -> Callable[[Callable[[S], Coroutine[Any, Any, None]]], Callable[[S], Coroutine[Any, Any, None]]]:
    """Run the test where the capability ``name`` is declared, or where it is not."""

    def mark(test: Callable[[S], Coroutine[Any, Any, None]]) -> Callable[[S], Coroutine[Any, Any, None]]:
        @functools.wraps(test)
        async def run(self: S) -> None:
            if getattr((await self.open()).capabilities(), name) is not declared:
                pytest.skip(f"the capability {name} is {'not ' if declared else ''}declared")
            await test(self)

        return run

    return mark


def now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)
