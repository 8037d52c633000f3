"""What the SQLite result store does beyond its contract."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from celeriac.clock import SystemClock
from celeriac.results import ResultRecord
from celeriac.states import PENDING, STARTED, SUCCESS
from celeriac_sqlite.operations import results
from celeriac_sqlite.store import SqliteResultStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteResultStore]:
    store = SqliteResultStore([f"sqlite:///{folder}/r.db"], clock=SystemClock())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def done(name: object, **options: object) -> ResultRecord:
    return ResultRecord(**{"task_id": str(name), "attempt": 1, "state": SUCCESS, **options})


def count(folder: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(folder / "r.db")) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  # a constant


def test_what_expired_is_dropped_in_passing(tmp_path: Path):
    async def live() -> None:
        async with opened(tmp_path) as store:
            past = datetime.now(UTC) - timedelta(seconds=1)
            await store.put([done(n, expires_at=past) for n in range(100)])
            assert await store.get(["1"]) == [None]
            for n in range(100, 160):
                await store.put([done(n)])

    asyncio.run(live())
    assert count(tmp_path, "result") == 60


def test_how_long_what_is_kept(tmp_path: Path):
    async def live() -> None:
        async with opened(tmp_path) as store:
            await store.sent(["sent"])
            await store.put([done("done"), done("started", state=STARTED)])
            now = datetime.now(UTC)
            kept = {record.state: record.expires_at - now for record in await store.get(["sent", "done", "started"])}
            assert {state: round(age / timedelta(days=1), 2) for state, age in kept.items()} == {
                PENDING: 30,
                SUCCESS: 1,
                STARTED: 30,
            }

    asyncio.run(live())


def test_one_id_twice_in_one_transaction(tmp_path: Path):
    async def live() -> None:
        async with opened(tmp_path) as store:
            first, second = await asyncio.gather(
                store.put([done("x", state=STARTED), done("x", body=b"1")]), store.put([done("x", body=b"2")])
            )
            assert [*first, *second] == [True, True, False]
            assert (await store.get(["x"]))[0].body == b"1"

    asyncio.run(live())


def test_waiting_for_thousands_beside_the_results_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(results, "PAGE", 50)

    async def live() -> None:
        async with opened(tmp_path) as mine, opened(tmp_path) as other:
            ids = [str(n) for n in range(1000)]
            await mine.sent(ids)
            await other.put([done(n) for n in ids[:100]])

            async def finish() -> None:
                for start in range(0, 1000, 20):
                    await other.put([done(n) for n in ids[start : start + 20]])
                    await other.put([done(f"foreign-{n}") for n in ids[start : start + 20]])

            finishing = asyncio.create_task(finish())
            async with asyncio.timeout(20):
                got = [record.task_id async for record in mine.wait([*ids, "1"])]
            await finishing
            assert sorted(got) == sorted(ids)

    asyncio.run(live())


def test_joins_of_one_transaction_complete_once(tmp_path: Path):
    async def live() -> None:
        async with opened(tmp_path) as one, opened(tmp_path) as other:
            joins = [store.join("g", str(member), 50) for member in range(50) for store in (one, other)]
            assert sum(await asyncio.gather(*joins)) == 1
            assert not await one.join("g", "late", 50)

    asyncio.run(live())


def test_groups_that_expired_are_dropped_in_passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def live() -> None:
        async with opened(tmp_path) as store:
            monkeypatch.setattr(results, "WAITING_KEPT", timedelta(0))
            for member in range(10):
                await store.join("old", str(member), 20)
            monkeypatch.undo()
            for member in range(10):
                await store.join("new", str(member), 20)

    asyncio.run(live())
    assert count(tmp_path, "member") == 10
    assert count(tmp_path, "member_count") == 1
