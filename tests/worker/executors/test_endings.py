"""Jobs that are ended before they end by themselves, by their executors."""

from __future__ import annotations

import asyncio
import signal

import pytest

from celeriac.worker.job import Failed, Interrupted, Revoked, Succeeded, TimedOut

LATE = TimedOut(limit=1)
REVOKED = Revoked(terminated=False)
KINDS = ["process", "thread"]


# cancelling coroutines


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["ahold", "atidy"])
async def test_a_cancelled_coroutine_ends_with_its_sentence(trial, kind, task):
    async with trial(kind) as pool:
        held, neighbour = pool.submit(task), pool.submit("ahold", 0.1)
        await pool.all_begun(held, neighbour)
        pool.pool.cancel(held, LATE)
        assert await pool.outcome(held) == LATE
        assert await pool.result(neighbour) == "slept"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_coroutine_cancelled_as_soon_as_it_is_given(trial, kind):
    async with trial(kind) as pool:
        for _ in range(20):
            seq = pool.submit("ahold")
            pool.pool.cancel(seq, REVOKED)
            assert await pool.outcome(seq) == REVOKED
        assert await pool.run("aecho", 1) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_done_before_the_cancellation_came_stands(trial, kind):
    async with trial(kind) as pool:
        seq = pool.submit("aecho", 1)
        await pool.outcome(seq)
        pool.pool.cancel(seq, REVOKED)
        assert await pool.run("aecho", 2) == 2
        assert isinstance(pool.outcomes[seq], Succeeded)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_def_task_is_not_cancelled(trial, gate, kind):
    async with trial(kind) as pool:
        held = pool.submit("hold", gate.path)
        await pool.all_begun(held)
        pool.pool.cancel(held, REVOKED)
        assert await pool.run("aecho", 1) == 1
        await asyncio.to_thread(gate.open)
        assert await pool.result(held) == "through"


@pytest.mark.parametrize("kind", KINDS)
async def test_ending_what_is_not_there(trial, kind):
    async with trial(kind) as pool:
        pool.pool.cancel(99, REVOKED)
        pool.pool.kill(99, REVOKED)
        assert await pool.run("echo", 1) == 1


# killing


async def test_only_the_process_pool_can_kill(trial, gate):
    assert trial("process").pool.can_kill
    async with trial("thread") as pool:
        assert not pool.pool.can_kill
        held = pool.submit("hold", gate.path)
        await pool.all_begun(held)
        pool.pool.kill(held, LATE)
        await asyncio.to_thread(gate.open)
        assert await pool.result(held) == "through"


@pytest.mark.parametrize("hog", ["hog", "hog_in_re"])
async def test_a_task_that_holds_the_gil_is_killed_and_its_neighbours_are_spared(trial, hog):
    async with trial() as pool:
        neighbours = [pool.submit("ahold") for _ in range(5)]
        await pool.all_begun(*neighbours)
        hogging = pool.submit(hog)
        await pool.all_begun(hogging)
        ahead = pool.submit("echo", 1)
        (pid,) = pool.pool.pids
        pool.pool.kill(hogging, LATE)
        assert await pool.outcome(hogging) == LATE
        for seq in neighbours:
            assert await pool.outcome(seq) == Interrupted()
        assert await pool.result(ahead) == 1
        assert pid not in pool.pool.pids


async def test_two_are_ended_with_one_child(trial):
    async with trial() as pool:
        stubborn, cancelled = pool.submit("astubborn"), pool.submit("astubborn")
        await pool.all_begun(stubborn, cancelled)
        pool.pool.cancel(cancelled, REVOKED)
        pool.pool.kill(stubborn, LATE)
        assert await pool.outcome(stubborn) == LATE
        assert await pool.outcome(cancelled) == REVOKED


async def test_a_condemned_child_gets_nothing_more(trial):
    async with trial() as pool:
        hogging = pool.submit("hog")
        await pool.all_begun(hogging)
        (pid,) = pool.pool.pids
        pool.pool.kill(hogging, LATE)
        after = [pool.submit("pid"), pool.submit("apid")]
        assert pid not in [await pool.result(seq) for seq in after]


async def test_the_accused_are_killed_in_their_quarantine(trial):
    async with trial() as pool:
        hogging = pool.submit("hog", alone=True)
        child = await pool.run("pid")
        await pool.all_begun(hogging)
        pool.pool.kill(hogging, LATE)
        assert await pool.outcome(hogging) == LATE
        assert await pool.run("pid") == child
        assert await pool.run("echo", 1, alone=True) == 1


async def test_what_is_killed_while_the_pool_stops_keeps_its_sentence(trial):
    async with trial() as pool:
        neighbour = pool.submit("ahold")
        await pool.all_begun(neighbour)
        hogging = pool.submit("hog")
        await pool.all_begun(hogging)
        pool.pool.kill(hogging, LATE)
        await pool.pool.stop(0)
        assert pool.outcomes == {hogging: LATE, neighbour: Interrupted()}


# soft limits


@pytest.mark.parametrize("task", ["endure", "spin"])
async def test_the_soft_limit_is_raised_on_the_main_thread(trial, task):
    async with trial() as pool:
        assert await pool.run(task, soft_limit=0.1) in ("the soft_time_limit of 0.1 s is over", "spun")
        outcome = await pool.outcome(pool.submit("hold_softly", soft_limit=0.1))
        assert isinstance(outcome, Failed)
        assert (outcome.error.type, outcome.error.module) == ("SoftTimeLimitExceeded", "celeriac.errors")
        assert "in hold_softly" in outcome.traceback
        assert await pool.run("endure", 0.2) == "nothing came"


@pytest.mark.parametrize(("kind", "threads"), [("process", 2), ("thread", 1)])
async def test_the_soft_limit_is_injected_into_other_threads_at_their_next_step(trial, kind, threads):
    options = {"threads": threads} if kind == "process" else {}
    async with trial(kind, **options) as pool:
        seqs = [pool.submit("spin", soft_limit=0.1) for _ in range(threads)]
        for seq in seqs:
            assert await pool.result(seq) == "spun"
        assert await pool.run("endure", 0.2) == "nothing came"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("within", ["sleep", "group", "child", "timeout", "lock"])
async def test_a_coroutine_catches_its_soft_limit_by_name(trial, kind, within):
    async with trial(kind) as pool:
        assert await pool.run("aendure", within, soft_limit=0.1) == ["the soft_time_limit of 0.1 s is over", 0]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_coroutine_that_lets_its_soft_limit_through_has_failed(trial, kind):
    async with trial(kind) as pool:
        outcome = await pool.outcome(pool.submit("ahold", soft_limit=0.1))
        assert isinstance(outcome, Failed)
        assert (outcome.error.type, outcome.error.module) == ("SoftTimeLimitExceeded", "celeriac.errors")
        assert "in ahold" in outcome.traceback
        assert "softlimit.py" not in outcome.traceback
        assert await pool.run("ahold", 0.01, soft_limit=5) == "slept"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_coroutine_is_cancelled_beyond_its_soft_limit(trial, kind):
    async with trial(kind) as pool:
        seq = pool.submit("ahold", soft_limit=3600)
        await pool.all_begun(seq)
        pool.pool.cancel(seq, REVOKED)
        assert await pool.outcome(seq) == REVOKED


# progress


@pytest.mark.parametrize("kind", KINDS)
async def test_progress_is_told_now_and_then_and_the_latest_word_always(trial, gate, kind):
    async with trial(kind) as pool:
        seq = pool.submit("count", 5000, gate.path)
        latest = (seq, {"word": "counting", "current": 5000, "total": 5000})
        await pool.until(lambda: latest in pool.told)
        assert len(pool.told) < 100
        await asyncio.to_thread(gate.open)
        assert await pool.result(seq) == "through"


@pytest.mark.parametrize("kind", KINDS)
async def test_progress_of_coroutines_beside_each_other(trial, kind):
    async with trial(kind) as pool:
        seqs = [pool.submit("acount", n) for n in (3, 4)]
        for seq, n in zip(seqs, (3, 4), strict=True):
            await pool.until(lambda told=(seq, {"current": n, "total": None}): told in pool.told)


async def test_progress_that_cannot_be_carried_is_the_task_s_failure(trial):
    async with trial() as pool:
        outcome = await pool.outcome(pool.submit("progress_of_a_set"))
        assert outcome.error.type == "EncodeError"


# signals


async def test_a_child_takes_no_notice_of_term_but_its_programs_do(trial):
    async with trial() as pool:
        assert await pool.run("terminate_myself") == "went on"
        assert await pool.run("terminate_a_program") == signal.SIGTERM
