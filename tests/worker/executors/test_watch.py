"""Children that have work and do not get on with it."""

from __future__ import annotations

import os
import signal

import pytest

from celeriac.worker.executors import watch
from celeriac.worker.job import Died

KILLED = Died(exit="signal 9 (SIGKILL)", beside=0)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.01)


async def test_a_child_that_was_stopped_is_replaced_and_its_job_has_died(trial, caplog):
    async with trial() as pool:
        (pid,) = pool.pool.pids
        assert await pool.outcome(pool.submit("stop_myself")) == KILLED
        assert await pool.run("pid") != pid
        assert f"executor {pid} has been stopped" in caplog.text


async def test_a_child_that_is_stopped_and_continued_in_time_is_left_alone(trial, monkeypatch, gate):
    monkeypatch.setattr(watch, "STOPPED_LOOKS", 1000)
    async with trial() as pool:
        (pid,) = pool.pool.pids
        held = pool.submit("hold", gate.path)
        await pool.all_begun(held)
        os.kill(pid, signal.SIGSTOP)
        await pool.until_logged_or(0.1)
        os.kill(pid, signal.SIGCONT)
        gate.open()
        assert await pool.result(held) == "through"
        assert await pool.run("pid") == pid


async def test_a_child_that_is_stopped_without_work_is_nobody_s_business(trial, caplog):
    async with trial() as pool:
        (pid,) = pool.pool.pids
        os.kill(pid, signal.SIGSTOP)
        await pool.until_logged_or(0.2)
        os.kill(pid, signal.SIGCONT)
        assert await pool.run("pid") == pid
        assert not caplog.records


async def test_a_silent_child_is_logged_once_with_its_stack_and_goes_on(trial, caplog, capfd):
    async with trial() as pool:
        (pid,) = pool.pool.pids
        await pool.all_begun(pool.submit("hog"))
        await pool.until_logged_or(PATIENCE, caplog, "silent")
        await pool.until_logged_or(0.5)
        (told,) = [record for record in caplog.records if "silent" in record.message]
        assert f"executor {pid}" in told.message
        assert "at work on executors_app.hog" in told.message
        assert pool.pool.pids == [pid]
    assert "in hog" in capfd.readouterr().err


async def test_a_child_whose_loop_lives_is_not_silent(trial, caplog, gate, monkeypatch):
    monkeypatch.setattr(watch, "SILENT_LOOKS", 70)
    async with trial() as pool:
        held = pool.submit("hold", gate.path)
        await pool.all_begun(held)
        await pool.until_logged_or(1)
        gate.open()
        await pool.outcome(held)
        assert not caplog.records


async def test_a_stall_timeout_kills_a_silent_child(trial, caplog):
    async with trial(stall_timeout=0.1) as pool:
        assert await pool.outcome(pool.submit("hog")) == KILLED
        assert await pool.run("echo", 1) == 1
        assert "killing it" in caplog.text


PATIENCE = 20
