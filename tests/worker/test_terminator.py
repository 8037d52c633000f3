"""When jobs are ended, and that nothing is left of those that end by themselves."""

from __future__ import annotations

import asyncio

import pytest

from celeriac.worker import terminator
from celeriac.worker.job import Revoked, TimedOut
from celeriac.worker.terminator import Terminator

REVOKED = Revoked(terminated=True)


class FakePool:
    """Writes down what it is told."""

    def __init__(self, *, can_kill=True):
        self.can_kill = can_kill
        self.told = []
        self.news = asyncio.Event()

    def cancel(self, seq, sentence):
        self.told.append(("cancel", seq, sentence))
        self.news.set()

    def kill(self, seq, sentence):
        self.told.append(("kill", seq, sentence))
        self.news.set()

    async def until(self, count):
        async with asyncio.timeout(10):
            while len(self.told) < count:
                self.news.clear()
                await self.news.wait()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(terminator, "PATIENCE_SECONDS", 0.02)


@pytest.fixture
def sync_job(job):
    return job(task="shop.add")


@pytest.fixture
def async_job(job):
    return job(task="shop.mail")


def test_a_job_that_ends_by_itself_leaves_no_timer(sync_job):
    async def main():
        pool = FakePool()
        ending = Terminator(pool)
        ending.began(sync_job, 0.01)
        (timer,) = ending.timers.values()
        ending.ended(sync_job)
        assert timer.cancelled()
        assert not ending.timers
        ending.ended(sync_job)
        assert not pool.told

    asyncio.run(main())


def test_a_def_task_is_killed_at_its_limit(sync_job):
    async def main():
        pool = FakePool()
        ending = Terminator(pool)
        ending.began(sync_job, 0.01)
        await pool.until(1)
        assert pool.told == [("kill", sync_job.seq, TimedOut(limit=0.01))]
        assert not ending.timers

    asyncio.run(main())


def test_a_coroutine_is_cancelled_and_then_killed(async_job):
    async def main():
        pool = FakePool()
        ending = Terminator(pool)
        ending.end(async_job, REVOKED)
        assert pool.told == [("cancel", async_job.seq, REVOKED)]
        await pool.until(2)
        assert pool.told[1:] == [("kill", async_job.seq, REVOKED)]
        assert not ending.timers

    asyncio.run(main())


def test_a_coroutine_that_lets_itself_be_cancelled_is_not_killed(async_job):
    async def main():
        pool = FakePool()
        ending = Terminator(pool)
        ending.end(async_job, REVOKED)
        (timer,) = ending.timers.values()
        ending.ended(async_job)
        assert timer.cancelled()

    asyncio.run(main())


def test_who_only_asks_leaves_functions_alone(sync_job, async_job):
    async def main():
        pool = FakePool()
        ending = Terminator(pool)
        ending.ask(sync_job, REVOKED)
        ending.ask(async_job, REVOKED)
        assert pool.told == [("cancel", async_job.seq, REVOKED)]
        assert not ending.timers

    asyncio.run(main())


def test_a_pool_that_cannot_kill_is_not_asked_to(sync_job, caplog):
    async def main():
        pool = FakePool(can_kill=False)
        Terminator(pool).end(sync_job, REVOKED)
        assert not pool.told

    asyncio.run(main())
    assert "shop.add[id-1] goes on" in caplog.text
