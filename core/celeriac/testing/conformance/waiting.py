"""The result-store contract: waiting for results, and joining groups."""

from __future__ import annotations

import asyncio
import random

import pytest

from celeriac.errors import Unsupported
from celeriac.states import FAILURE, RETRY, REVOKED, STARTED
from celeriac.testing.conformance.case import QUIET, unique
from celeriac.testing.conformance.clauses import clause
from celeriac.testing.conformance.store_case import StoreCase, collected, record, stores_that, value_of

TOLD = 1.0  # seconds, WAIT-4


class StoreWaitTests(StoreCase):
    """Clauses WAIT-*."""

    @clause("WAIT-1", "WAIT-2", "WAIT-4")
    async def test_each_as_it_comes(self) -> None:
        """What was final before, then each within a second of its put; the end when all have come."""
        caller, worker = await self.open(), await self.open()
        early, *later = await self.asked(caller, 4)
        await worker.put([record(early, caller)])
        await self.seen(caller, early)
        waiting = caller.wait([early, *later, early])
        async with asyncio.timeout(TOLD):
            assert (await anext(waiting)).task_id == early
        for task, state in zip(later, ("SUCCESS", FAILURE, REVOKED), strict=True):
            telling = asyncio.ensure_future(anext(waiting))
            await asyncio.wait([telling], timeout=0.05)
            assert not telling.done()
            await worker.put([record(task, caller, state, body=f'"{task}"'.encode())])
            async with asyncio.timeout(TOLD):
                got = await telling
            assert (got.task_id, got.state, value_of(got)) == (task, state, task)
        async with asyncio.timeout(TOLD):
            assert [one async for one in waiting] == []

    @clause("WAIT-1")
    async def test_waiting_for_nothing(self) -> None:
        """It ends at once."""
        assert await collected(await self.open(), []) == []

    @clause("WAIT-3")
    async def test_what_is_not_final_is_not_told(self) -> None:
        """Started and to be retried are not results."""
        caller, worker = await self.open(), await self.open()
        (task,) = await self.asked(caller)
        waiting = asyncio.ensure_future(collected(caller, [task]))
        for state in (STARTED, RETRY):
            await worker.put([record(task, caller, state)])
        await asyncio.wait([waiting], timeout=QUIET)
        assert not waiting.done()
        await worker.put([record(task, caller)])
        assert [one.task_id for one in await waiting] == [task]

    @clause("WAIT-5")
    async def test_many_wait(self) -> None:
        """Each is told, also while another gives up."""
        caller, worker = await self.open(), await self.open()
        (task,) = await self.asked(caller)
        waiting = [asyncio.ensure_future(collected(caller, [task])) for _ in range(5)]
        await asyncio.wait(waiting, timeout=0.05)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        await worker.put([record(task, caller)])
        assert [[one.task_id for one in told] for told in await asyncio.gather(*waiting[1:])] == [[task]] * 4


class StoreJoinTests(StoreCase):
    """Clauses JOIN-*."""

    @clause("JOIN-1", "JOIN-2")
    @stores_that("shared")
    async def test_the_one_that_completes(self) -> None:
        """Members come in any number and again; other groups are other groups."""
        store = await self.open()
        group, other = unique("group"), unique("group")
        for member in ("a", "b", "a", "b"):
            assert not await store.join(group, member, 3)
        assert not await store.join(other, "c", 3)
        assert await store.join(group, "c", 3)
        for member in ("c", "a", "d"):
            assert not await store.join(group, member, 3)
        assert await store.join(unique("group"), "only", 1)

    @clause("JOIN-3")
    @stores_that("shared")
    async def test_at_the_same_time(self) -> None:
        """Every member twice, in disorder, from two stores: one call completes the group."""
        stores = [await self.open(), await self.open()]
        group = unique("group")
        calls = [(store, f"m{number}") for store in stores for number in range(20)]
        random.Random(5).shuffle(calls)  # noqa: S311 - an order, not a secret
        answers = await asyncio.gather(*(store.join(group, member, 20) for store, member in calls))
        assert sorted(answers) == [False] * 39 + [True]

    @clause("JOIN-4")
    @stores_that("shared", declared=False)
    async def test_groups_want_a_shared_store(self) -> None:
        """A store that is sent its results cannot join."""
        with pytest.raises(Unsupported):
            await (await self.open()).join(unique("group"), "a", 2)
