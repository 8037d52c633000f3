"""The pools of this process: threads, and solo."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from celeriac.errors import ConfigurationError
from celeriac.worker.job import Failed, Interrupted, Rejected, Succeeded


async def test_tasks_run_here(trial):
    async with trial("thread") as pool:
        assert await pool.run("pid") == os.getpid()
        assert await pool.run("apid") == os.getpid()
        assert await pool.run("thread_name") == "celeriac-task-1"


async def test_slots(trial, gate):
    async with trial("thread", concurrency=2, coroutines=3) as pool:
        assert (pool.pool.sync_slots, pool.pool.async_slots) == (2, 3)
        held = [pool.submit("hold", gate.path) for _ in range(3)]
        await pool.all_begun(*held[:2])
        sleeping = [pool.submit("ahold") for _ in range(4)]
        await pool.all_begun(*sleeping[:3])
        assert [job.seq for job in pool.pool.recall()] == [sleeping[3], held[2]]
        await asyncio.to_thread(gate.open)
        texts = {await pool.result(seq) for seq in held[:2]}  # one of them reads the text, the other only the end
        assert "through" in texts


async def test_recall_takes_the_last_first(trial, gate):
    async with trial("thread") as pool:
        held = pool.submit("hold", gate.path)
        await pool.all_begun(held)
        waiting = [pool.submit("echo", n) for n in range(4)]
        assert [job.seq for job in pool.pool.recall(1)] == [waiting[3]]
        assert [job.seq for job in pool.pool.recall()] == waiting[2::-1]
        gate.open()
        await pool.outcome(held)


async def test_many_jobs_from_many_threads(trial):
    async with trial("thread", concurrency=4) as pool:
        seqs = [pool.submit("echo" if n % 2 else "aecho", n) for n in range(500)]
        assert [await pool.result(seq) for seq in seqs] == list(range(500))


async def test_what_goes_wrong_is_data(trial):
    async with trial("thread") as pool:
        assert isinstance(await pool.outcome(pool.submit("leave", "exit")), Failed)
        assert isinstance(await pool.outcome(pool.submit("aleave", "interrupt")), Failed)
        assert isinstance(await pool.outcome(pool.submit("echo", body=b"")), Rejected)
        assert await pool.run("echo", 1) == 1


async def test_stop_cancels_coroutines_after_the_grace(trial):
    async with trial("thread") as pool:
        held = pool.submit("ahold")
        await pool.all_begun(held)
        waiting = [pool.submit("echo", 1, alone=True)]
        await pool.outcome(waiting[0])
        await pool.pool.stop(0)
        assert pool.outcomes[held] == Interrupted()


async def test_stop_leaves_a_thread_that_does_not_end(trial, gate):
    async with trial("thread") as pool:
        held = pool.submit("hold", gate.path)
        await pool.all_begun(held)
        threads = list(pool.pool._threads)
        await pool.pool.stop(0)
        assert pool.outcomes == {held: Interrupted()}
        gate.open()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)  # what the thread had to tell is told by now
        assert pool.outcomes == {held: Interrupted()}


@pytest.mark.parametrize("kind", ["thread", "solo"])
async def test_stop_without_start(trial, kind):
    await trial(kind).pool.stop(0)


async def test_stop_without_start_of_the_process_pool(trial):
    await trial("process").pool.stop(0)


async def test_stop_twice_and_no_thread_is_left(trial):
    before = threading.active_count()
    async with trial("thread", concurrency=3) as pool:
        assert await pool.run("echo", 1) == 1
        await pool.pool.stop(0)
    assert threading.active_count() == before


@pytest.mark.parametrize("option", ["threads", "max_tasks_per_child", "max_memory_per_child"])
def test_options_of_processes_are_refused(trial, option):
    with pytest.raises(ConfigurationError, match=option):
        trial("thread", **{option: 2})


def test_solo_runs_def_tasks_on_the_callers_thread(trial):
    made, results = [], {}
    ready = threading.Event()

    async def work():
        async with trial("solo") as pool:
            made.append(pool)
            ready.set()
            results["sync"] = await pool.run("thread_name")
            results["async"] = await pool.run("aecho", 1)

    worker = threading.Thread(target=lambda: asyncio.run(work()))
    worker.start()
    assert ready.wait(10)
    made[0].pool.run_forever()
    worker.join()
    assert results == {"sync": "MainThread", "async": 1}


def test_solo_is_one(trial):
    with pytest.raises(ConfigurationError, match="not 2"):
        trial("solo", concurrency=2)


async def test_a_lifespan_that_fails_is_raised(trial):
    pool = trial("thread")

    async def life():
        raise RuntimeError("no database")
        yield

    from contextlib import asynccontextmanager

    pool.pool._app.lifespan_function = asynccontextmanager(life)
    try:
        with pytest.raises(RuntimeError, match="no database"):
            await pool.pool.start()
        await pool.pool.stop(0)
    finally:
        pool.pool._app.lifespan_function = None


async def test_a_succeeded_job_tells_its_time(trial):
    async with trial("thread") as pool:
        outcome = await pool.outcome(pool.submit("echo", 1))
        assert isinstance(outcome, Succeeded)
        assert 0 <= outcome.seconds < 5
