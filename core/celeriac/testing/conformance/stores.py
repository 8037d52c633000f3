"""The result-store contract: its life, and what is put and got."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from celeriac.errors import ConfigurationError, ConnectionLost, NoResultStore
from celeriac.states import FAILURE, FINAL, PENDING, PROGRESS, RETRY, STARTED, SUCCESS
from celeriac.testing.conformance.case import eventually, footprint, unique
from celeriac.testing.conformance.clauses import clause
from celeriac.testing.conformance.store_case import StoreCase, collected, now, record, stores_that, value_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from celeriac.results import ResultRecord, ResultStore


class StoreLifeTests(StoreCase):
    """Clauses STORE-*."""

    @clause("STORE-1")
    async def test_constructing_opens_nothing(self) -> None:
        """No socket, file, thread or task; the address for replies does not change afterwards."""
        transport = await self.transport()
        before = footprint()
        store = self.construct(self.urls, transport)
        reply_to = store.reply_to
        assert footprint() == before
        await store.open()
        assert store.reply_to == reply_to
        await store.close()

    @clause("STORE-1")
    async def test_an_unknown_option_is_refused(self) -> None:
        """By its name, before anything is opened."""
        url = self.urls[0]
        odd = f"{url}{'&' if urlsplit(url).query else '?'}no_such_option_of_any_store=1"
        with pytest.raises(ConfigurationError, match="no_such_option_of_any_store"):
            self.construct([odd], await self.transport())

    @clause("STORE-2")
    async def test_opening_and_closing_again(self) -> None:
        """In any order, as often as one likes; afterwards it works."""
        store = await self.make()
        await store.close()
        for _ in range(2):
            await store.open()
            await store.open()
            await store.close()
            await store.close()
        await store.open()
        (task,) = await self.asked(store)
        assert list(await store.put([record(task, store)])) == [True]
        assert value_of(await self.seen(store, task)) == {"value": 1}

    @clause("STORE-3", "WAIT-5")
    async def test_close_leaves_nothing(self) -> None:
        """No descriptor, thread or task, also of somebody who waited and gave up."""
        transport = await self.transport()

        async def used() -> None:
            store = self.construct(self.urls, transport)
            self.stack.push_async_callback(store.close)  # tidying up opens it again
            await store.open()
            (task,) = await self.asked(store)
            waiting = asyncio.ensure_future(collected(store, [task]))
            await asyncio.wait([waiting], timeout=0.05)
            waiting.cancel()
            await asyncio.wait([waiting])
            await store.put([record(task, store)])
            await store.forget([task])
            await store.close()

        async def after() -> tuple[int, set[int | None], int]:
            gc.collect()
            return footprint()

        await used()  # what a first use loads and keeps for good is not counted
        before = footprint()
        await used()
        await eventually(after, lambda now: now[0] <= before[0] and now[1] <= before[1] and now[2] <= before[2])

    @clause("STORE-4")
    async def test_nothing_works_unopened(self) -> None:
        """Before `open` and after `close` every operation raises `ConnectionLost`."""
        store = await self.make()
        calls: list[Callable[[ResultStore], Awaitable[object]]] = [
            lambda s: s.sent(["a"]),
            lambda s: s.put([record("a", s)]),
            lambda s: s.get(["a"]),
            lambda s: anext(s.wait(["a"])),
            lambda s: s.forget(["a"]),
        ]
        for _ in range(2):
            for call in calls:
                with pytest.raises(ConnectionLost):
                    await call(store)
            await store.open()
            await store.close()

    @clause("STORE-5")
    @stores_that("shared")
    async def test_every_store_of_the_url(self) -> None:
        """What one has put another gets, after the first was closed; it need not have been told of the task."""
        one, other = await self.open(), await self.open()
        task = unique("task")
        assert list(await one.put([record(task, one)])) == [True]
        await one.close()
        for store in (other, await self.open()):
            assert value_of((await store.get([task]))[0]) == {"value": 1}
        await other.forget([task])


class StorePutTests(StoreCase):
    """Clauses PUT-*."""

    @clause("PUT-1")
    async def test_an_answer_for_each(self) -> None:
        """Of many and of none."""
        caller, worker = await self.open(), await self.open()
        tasks = await self.asked(caller, 20)
        assert list(await worker.put([record(task, caller) for task in tasks])) == [True] * 20
        assert list(await worker.put([])) == []

    @clause("PUT-2")
    async def test_the_state_and_the_value(self) -> None:
        """Of a result and of a failure, for whoever asked."""
        caller, worker = await self.open(), await self.open()
        good, bad = await self.asked(caller, 2)
        error = b'{"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"}'
        await worker.put(
            [
                record(good, caller, body=b'[1, null, "\xc3\xa9"]'),
                record(bad, caller, FAILURE, body=error, traceback="Traceback"),
            ]
        )
        assert value_of(await self.seen(caller, good)) == [1, None, "é"]
        failed = await self.seen(caller, bad, FAILURE)
        assert value_of(failed)["exc_type"] == "ValueError"
        assert failed.traceback == "Traceback"

    @clause("PUT-2")
    @stores_that("shared")
    async def test_every_field(self) -> None:
        """A body of any bytes, and all that stands beside it."""
        caller, worker = await self.open(), await self.open()
        (task,) = await self.asked(caller)
        put = record(
            task,
            caller,
            attempt=7,
            body=bytes(range(256)) * 100,
            content_type="application/x-kit",
            content_encoding="binary",
            traceback="žluťoučký ☃",
            done_at=now(),
        )
        await worker.put([put])
        got = await self.seen(caller, task)
        assert replace(got, expires_at=None, reply_to=put.reply_to) == put

    @clause("PUT-3")
    @stores_that("shared")
    async def test_states_in_their_order(self) -> None:
        """Started, under way, to be retried, started again, done: each replaces the one before."""
        caller, worker = await self.open(), await self.open()
        (task,) = await self.asked(caller)
        for state, attempt in ((STARTED, 1), (PROGRESS, 1), (PROGRESS, 1), (RETRY, 1), (STARTED, 2), (SUCCESS, 2)):
            assert list(await worker.put([record(task, caller, state, attempt=attempt)])) == [True]
            (got,) = await caller.get([task])
            assert got is not None
            assert (got.state, got.attempt) == (state, attempt)

    @clause("PUT-4", "PUT-5")
    @stores_that("compare_and_set")
    async def test_what_stands(self) -> None:
        """A later attempt is not overwritten by an earlier one, a final state by nothing."""
        caller, worker = await self.open(), await self.open()
        (task,) = await self.asked(caller)
        steps: list[tuple[ResultRecord, bool]] = [
            (record(task, caller, STARTED, attempt=3), True),
            (record(task, caller, STARTED, attempt=2), False),
            (record(task, caller, SUCCESS, attempt=2), False),
            (record(task, caller, SUCCESS, attempt=3, body=b'"final"'), True),
            (record(task, caller, SUCCESS, attempt=3), False),
            (record(task, caller, FAILURE, attempt=4), False),
            (record(task, caller, STARTED, attempt=5), False),
        ]
        for put, accepted in steps:
            assert list(await worker.put([put])) == [accepted], put
        (got,) = await caller.get([task])
        assert got is not None
        assert (got.state, got.attempt, value_of(got)) == (SUCCESS, 3, "final")

    @clause("PUT-6")
    @stores_that("compare_and_set")
    async def test_one_of_many_at_once(self) -> None:
        """Two stores put final states for the same tasks: each task takes just one."""
        caller, one, other = [await self.open() for _ in range(3)]
        tasks = await self.asked(caller, 20)
        answers = await asyncio.gather(
            *(
                store.put([record(task, caller, body=f'"{name}"'.encode())])
                for task in tasks
                for name, store in (("one", one), ("other", other))
            )
        )
        for index, task in enumerate(tasks):
            accepted = [answers[2 * index][0], answers[2 * index + 1][0]]
            assert sorted(accepted) == [False, True]
            (got,) = await caller.get([task])
            assert value_of(got) == ("one" if accepted[0] else "other")
        (task,) = await self.asked(caller)
        assert list(await one.put([record(task, caller), record(task, caller, FAILURE)])) == [True, False]


class StoreGetTests(StoreCase):
    """Clauses GET-* and EXP-*."""

    @clause("GET-1")
    async def test_in_the_order_asked(self) -> None:
        """Also an id that is asked twice."""
        caller, worker = await self.open(), await self.open()
        tasks = await self.asked(caller, 3)
        await worker.put([record(task, caller) for task in reversed(tasks)])
        for task in tasks:
            await self.seen(caller, task)
        got = await caller.get([tasks[2], tasks[0], tasks[2]])
        assert [one.task_id for one in got if one] == [tasks[2], tasks[0], tasks[2]]
        assert list(await caller.get([])) == []

    @clause("GET-2", "GET-3")
    @stores_that("knows_unknown")
    async def test_what_was_sent_and_what_was_not(self) -> None:
        """PENDING is a task that waits; nothing is one of which nobody was told."""
        caller, other = await self.open(), await self.open()
        (task,) = await self.asked(caller)
        for store in (caller, other):
            got, unknown = await store.get([task, unique("task")])
            assert got is not None
            assert (got.state, got.attempt) == (PENDING, 0)
            assert unknown is None

    @clause("GET-3")
    async def test_sent_overwrites_nothing(self) -> None:
        """Told again, after the result is there, it still is."""
        caller, worker = await self.open(), await self.open()
        (task,) = await self.asked(caller)
        await caller.sent([task])
        await worker.put([record(task, caller)])
        await self.seen(caller, task)
        await caller.sent([task])
        assert value_of((await caller.get([task]))[0]) == {"value": 1}

    @clause("GET-4")
    @stores_that("shared")
    async def test_forget(self) -> None:
        """It is as if it had never been; it may be forgotten again, and put again."""
        caller = await self.open()
        (task, waiting) = await self.asked(caller, 2)
        await caller.put([record(task, caller)])
        for _ in range(2):
            await caller.forget([task, waiting, unique("task")])
            assert list(await caller.get([task, waiting])) == [None, None]
        assert list(await caller.put([record(task, caller, STARTED)])) == [True]

    @clause("GET-5", "GET-4")
    @stores_that("shared", declared=False)
    async def test_results_of_others(self) -> None:
        """A store that is sent its results knows only what was sent from here, and says what to set."""
        caller, other = await self.open(), await self.open()
        (task,) = await self.asked(caller)
        for store, unknown in ((other, task), (caller, unique("task"))):
            with pytest.raises(NoResultStore, match="backend"):
                await store.get([unknown])
        await caller.forget([task])
        with pytest.raises(NoResultStore):
            await caller.get([task])

    @clause("GET-6")
    async def test_known(self) -> None:
        """Asked from another thread: nothing, or what is final; of others nothing."""
        caller, worker = await self.open(), await self.open()
        done, runs, waits = await self.asked(caller, 3)
        await worker.put([record(runs, caller, STARTED)])
        await worker.put([record(done, caller)])
        await self.seen(caller, done)
        for task in (done, runs, waits, unique("task")):
            known = await asyncio.to_thread(caller.known, task)
            assert known is None or known == (await caller.get([task]))[0]
            assert known is None or known.state in FINAL

    @clause("EXP-1", "EXP-2", "EXP-3")
    @stores_that("shared")
    async def test_expiring(self) -> None:
        """After its moment a record is gone, and not before; those without a moment, final or not, stay."""
        caller = await self.open()
        short, kept, started, waiting = await self.asked(caller, 4)
        soon = now() + timedelta(seconds=1)
        await caller.put(
            [record(short, caller, expires_at=soon), record(kept, caller), record(started, caller, STARTED)]
        )
        (still,) = await caller.get([short])
        assert still is not None or now() >= soon

        async def look() -> ResultRecord | None:
            return (await caller.get([short]))[0]

        await eventually(look, lambda got: got is None, within=3)
        assert now() >= soon
        states = [one.state if one else None for one in await caller.get([kept, started])]
        assert states == [SUCCESS, STARTED]
        if caller.capabilities().knows_unknown:
            assert (await caller.get([waiting]))[0] is not None
