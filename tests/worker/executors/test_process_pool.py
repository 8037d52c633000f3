"""Jobs through real child processes: running, ordering, taking back, replacing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from celeriac.errors import Unsupported
from celeriac.worker.job import Failed, Interrupted, Rejected, Succeeded


def imported_with(module):
    code = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


async def test_a_def_task_runs_in_a_child(trial):
    async with trial() as pool:
        assert await pool.run("echo", [1, "zwei", None]) == [1, "zwei", None]
        assert await pool.run("pid") in pool.pool.pids
        assert os.getpid() not in pool.pool.pids
        assert pool.begun == [1, 2]


async def test_a_def_task_runs_on_the_main_thread(trial):
    async with trial() as pool:
        assert await pool.run("thread_name") == "MainThread"


async def test_coroutines_run_together(trial):
    async with trial(coroutines=50) as pool:
        held = [pool.submit("ahold") for _ in range(49)]
        await pool.all_begun(*held)
        assert await pool.run("aecho", 1) == 1


async def test_no_more_coroutines_than_allowed_run_at_a_time(trial):
    async with trial(coroutines=3) as pool:
        seqs = [pool.submit("ahold") for _ in range(5)]
        await pool.all_begun(*seqs[:3])
        assert [job.seq for job in pool.pool.recall()] == [seqs[4], seqs[3]]
        assert set(pool.begun) == set(seqs[:3])


async def test_a_busy_main_thread_does_not_hold_up_coroutines(trial, gate):
    async with trial() as pool:
        held = pool.submit("hold", gate.path)
        await pool.all_begun(held)
        assert await pool.run("aecho", 1) == 1
        gate.open()
        assert await pool.result(held) == "through"


async def test_threads_run_def_tasks_side_by_side(trial, gate):
    async with trial(threads=3) as pool:
        assert pool.pool.sync_slots == 3
        held = [pool.submit("hold", gate.path) for _ in range(2)]
        await pool.all_begun(*held)
        assert await pool.run("echo", 1) == 1


@pytest.mark.parametrize("task", ["echo", "aecho"])
async def test_eight_mebibytes_in_and_out(trial, task):
    value = "x" * (8 << 20)
    async with trial() as pool:
        seqs = [pool.submit(task, value) for _ in range(3)]
        for seq in seqs:
            assert await pool.result(seq) == value


async def test_a_large_job_can_be_taken_back(trial, gate):
    value = "x" * (1 << 20)
    async with trial() as pool:
        await pool.all_begun(pool.submit("hold", gate.path))
        seq = pool.submit("echo", value)
        (job,) = pool.pool.recall()
        assert job.seq == seq
        assert json.loads(job.assignment.body)[0] == [value]


async def test_recall_takes_back_what_lies_before_busy_children(trial, gate):
    async with trial(concurrency=2, ahead=4) as pool:
        held = [pool.submit("hold", gate.path) for _ in range(2)]
        await pool.all_begun(*held)
        ahead = [pool.submit("echo", n) for n in range(12)]
        assert [job.seq for job in pool.pool.recall(4)] == ahead[:-5:-1]
        taken = pool.pool.recall()
        assert sorted(job.seq for job in taken) == ahead[:8]
        assert pool.pool.recall() == []
        assert set(pool.begun) == set(held)


async def test_recall_of_a_few_keeps_the_order_of_the_others(trial, gate):
    async with trial(ahead=10, grace=5) as pool:
        await pool.all_begun(pool.submit("hold", gate.path))
        ahead = [pool.submit("echo", n) for n in range(6)]
        assert [job.seq for job in pool.pool.recall(2)] == [ahead[5], ahead[4]]
        gate.open()
        await pool.outcome(ahead[3])
        assert pool.begun[1:] == ahead[:4]


async def test_recall_reaches_into_a_child_that_holds_the_gil(trial):
    async with trial() as pool:
        await pool.all_begun(pool.submit("hog"))
        ahead = pool.submit("echo", 1)
        assert [job.seq for job in pool.pool.recall()] == [ahead]


async def test_what_waits_before_a_busy_child_goes_to_an_idle_one(trial, gate):
    async with trial(concurrency=2) as pool:
        await pool.all_begun(pool.submit("hold", gate.path))
        seqs = [pool.submit("echo", n) for n in range(20)]
        for seq in seqs:
            await pool.outcome(seq)
        assert len(pool.outcomes) == 20


async def test_jobs_are_spread_over_idle_children(trial, gate):
    async with trial(concurrency=3) as pool:
        await pool.all_begun(*(pool.submit("hold", gate.path) for _ in range(3)))


async def test_coroutines_prefer_a_child_whose_main_thread_is_idle(trial):
    async with trial(concurrency=3) as pool:
        await pool.all_begun(pool.submit("hog"))
        assert [await pool.run("aecho", n) for n in range(10)] == list(range(10))


async def test_an_accused_job_runs_alone(trial, gate):
    async with trial() as pool:
        first = pool.submit("hold", gate.path, alone=True)
        second = pool.submit("apid", alone=True)
        child = await pool.run("pid")
        assert await pool.run("apid") == child
        await pool.all_begun(first)
        assert second not in pool.begun
        gate.open()
        await pool.outcome(first)
        quarantined = await pool.result(second)
        assert quarantined != child
        assert await pool.run("pid", alone=True) == quarantined  # it is kept for the next


async def test_an_accused_job_that_waits_is_taken_back(trial, gate):
    async with trial() as pool:
        first = pool.submit("hold", gate.path, alone=True)
        second = pool.submit("echo", 1, alone=True)
        await pool.all_begun(first)
        assert [job.seq for job in pool.pool.recall()] == [second]


async def test_an_idle_quarantine_is_given_up(trial, monkeypatch):
    monkeypatch.setattr("celeriac.worker.executors.quarantine.IDLE_SECONDS", 0.05)
    async with trial() as pool:
        quarantined = await pool.run("pid", alone=True)
        assert quarantined in pool.pool.pids
        while quarantined in pool.pool.pids:  # noqa: ASYNC110 - the pool tells nobody of a death without jobs
            await asyncio.sleep(0.01)
        assert await pool.run("pid", alone=True) != quarantined


async def test_one_task_a_child(trial):
    async with trial(concurrency=2, max_tasks_per_child=1) as pool:
        seqs = [pool.submit("pid") for _ in range(200)]
        pids = [await pool.result(seq) for seq in seqs]
        assert len(set(pids)) > 195  # a pid may come again
        assert len(pool.begun) == 200


async def test_a_child_inherits_what_every_child_would_import(trial):
    inherited = imported_with("celeriac.worker.executors.nursery")
    async with trial() as pool:
        assert set(await pool.run("modules")) - inherited == set()


async def test_coroutines_count_as_tasks_of_a_child(trial):
    async with trial(max_tasks_per_child=5) as pool:
        pids = [await pool.run("apid") for _ in range(11)]
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [5, 5, 1]


async def test_a_child_that_has_grown_is_replaced(trial):
    async with trial(max_memory_per_child=150 * 1024) as pool:
        first = await pool.run("grow", 1)
        assert await pool.run("grow", 200) == first
        assert await pool.run("grow", 1) != first


async def test_an_unserialisable_result_is_the_tasks_failure(trial):
    async with trial() as pool:
        outcome = await pool.outcome(pool.submit("unserialisable"))
        assert isinstance(outcome, Failed)
        assert outcome.error.type == "EncodeError"
        assert "['deep'][0]" in outcome.error.message
        assert await pool.run("echo", 1) == 1


async def test_an_exception_that_cannot_be_shown(trial):
    async with trial() as pool:
        outcome = await pool.outcome(pool.submit("broken_exception"))
        assert isinstance(outcome, Failed)
        assert outcome.error.type == "BrokenError"


async def test_what_nobody_can_run_is_rejected(trial):
    async with trial() as pool:
        assert (await pool.outcome(pool.submit("echo", body=b"\xff"))).reason == "undecodable"
        assert (await pool.outcome(pool.submit("nobody_knows_me"))).reason == "unknown"
        outcome = await pool.outcome(pool.submit("echo", body=b'[[], {}, {"chain": [1]}]'))
        assert outcome == Rejected(reason="unsupported", detail=outcome.detail)


async def test_a_header_that_marshal_cannot_carry_is_simplified(trial):
    from datetime import UTC, datetime
    from decimal import Decimal

    async with trial() as pool:
        job = pool.job("echo", 1)
        job.assignment.request["headers"] = {"when": datetime(2026, 1, 1, tzinfo=UTC), "much": [Decimal("1.5")]}
        pool.pool.submit(job)
        assert await pool.result(job.seq) == 1


async def test_a_tasks_publishes_go_through_the_worker(trial):
    async with trial() as pool:
        ids = await pool.run("send", 3)
        assert [message.id for message in pool.published] == ids
        ids = await pool.run("asend", 2)
        assert [message.id for message in pool.published[3:]] == ids


async def test_a_publish_that_is_refused_raises_in_the_task(trial):
    async with trial() as pool:
        pool.receipts = Unsupported("not on this queue")
        outcome = await pool.outcome(pool.submit("send", 1))
        assert outcome.error.type == "Unsupported"
        assert "not on this queue" in outcome.error.message


async def test_stop_waits_for_what_runs(trial, gate):
    async with trial() as pool:
        held = pool.submit("hold", gate.path)
        waiting = pool.submit("echo", 1)
        await pool.all_begun(held)
        stopping = asyncio.create_task(pool.pool.stop(20))
        assert await pool.outcome(waiting) == Interrupted()
        gate.open()
        await stopping
        assert isinstance(pool.outcomes[held], Succeeded)


async def test_stop_ends_what_outlives_the_grace(trial, gate):
    async with trial() as pool:
        seqs = [pool.submit("hold", gate.path), pool.submit("ahold")]
        await pool.all_begun(*seqs)
        await pool.pool.stop(0)
        assert pool.outcomes == dict.fromkeys(seqs, Interrupted())


async def test_the_lifespan_is_entered_and_left_once_a_child(trial, tmp_path, monkeypatch):
    monkeypatch.setenv("EXECUTORS_LIFE", str(tmp_path / "life"))
    async with trial(concurrency=2) as pool:
        assert (await pool.run("state"))["pid"] in pool.pool.pids
        assert await pool.run("astate")
    assert (tmp_path / "life").read_text() == "left\nleft\n"


async def test_preload_imports_the_app_once(trial):
    async with trial(concurrency=2, preload=True) as pool:
        assert await pool.run("echo", 1) == 1


async def test_a_child_ignores_the_terminals_interrupt(trial):
    async with trial() as pool:
        assert await pool.run("interrupt_myself") == "went on"


async def test_log_records_name_their_task(trial, capfd):
    async with trial() as pool:
        assert await pool.run("log", "hello") == ["id-1", "executors_app.log"]
    assert "hello" in capfd.readouterr().err


async def test_bound_tasks_know_their_request(trial):
    async with trial() as pool:
        name = "executors_app.bound"
        assert await pool.run("bound", 7) == ["id-1", name, name, [7]]


async def test_nothing_is_left(trial, gate):
    async def use():
        async with trial(concurrency=2, max_tasks_per_child=3) as pool:
            seqs = [pool.submit("echo", "x" * 100_000) for _ in range(10)]
            for seq in seqs:
                await pool.outcome(seq)
            await pool.outcome(pool.submit("die"))
            await pool.all_begun(
                pool.submit("hold", gate.path), pool.submit("ahold"), pool.submit("echo", 1, alone=True)
            )
            pids, nursery = pool.pool.pids, pool.pool._family._nursery.pid
        return [*pids, nursery]

    await use()
    before = descriptors()
    for pid in await use():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert descriptors() == before


def descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}
