"""Poison, results that cannot be stored, tasks of the next release, priorities: with real workers, on every broker."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from witness import Witness
from worker_process import PROGRAMS, WorkerProcess

from celeriac.dead import DeadLetters
from celeriac.errors import TaskError
from celeriac.topology import DEAD_SUFFIX

PATIENCE = 30


@pytest.fixture(params=["amqp", "sqlite"])
def broker(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/celeriac.db"
    return request.getfixturevalue("amqp_url")


@pytest.fixture
def trouble(broker, monkeypatch):
    """The module of the tasks, imported here for this broker, with all the tasks there will ever be."""
    monkeypatch.setenv("TROUBLE_BROKER", broker)
    monkeypatch.setenv("TROUBLE_NEW", "1")
    monkeypatch.setenv("CELERIAC_UNKNOWN_TASK_DELAY", "0.5")
    monkeypatch.syspath_prepend(str(PROGRAMS))
    sys.modules.pop("trouble", None)
    import trouble

    with Witness(broker) as witness:
        witness.delete("levels", "levels" + DEAD_SUFFIX)
    yield trouble
    trouble.app.close()


@pytest.fixture
def path(tmp_path):
    (tmp_path / "notes").touch()
    return str(tmp_path / "notes")


def worker(broker, *arguments):
    return WorkerProcess("trouble", broker, *arguments, variable="TROUBLE_BROKER")


def notes(path):
    return Path(path).read_text().split()


@pytest.mark.parametrize("killer", ["kill_yourself", "kill_yourself_soon"])
def test_a_killer_runs_three_times_and_fifty_good_tasks_beside_it_succeed(trouble, broker, path, killer):
    with worker(broker, "-c", "2") as process:
        process.ready()
        results = [trouble.good.delay(number) for number in range(25)]
        killing = getattr(trouble, killer).delay(path)
        results += [trouble.good.delay(number) for number in range(25, 50)]
        assert [result.get(timeout=PATIENCE) for result in results] == list(range(50))
        with pytest.raises(TaskError, match="crashed"):
            killing.get(timeout=PATIENCE)
        assert process.terminate() == 0
    assert notes(path).count("killer") in (3, 4), "once beside others, which accuses all, and three times in all alone"
    (letter,) = DeadLetters(trouble.app, ["celeriac"]).peek()
    assert (letter.id, letter.reason, letter.attempts) == (killing.id, "crashed", 3)
    assert letter.worker.startswith("celeriac@")


def test_what_cannot_be_stored_is_the_task_s_failure_and_not_the_worker_s(trouble, broker):
    with worker(broker, "-c", "1") as process:
        process.ready()
        with pytest.raises(Exception, match="lock"):
            trouble.unserialisable.delay().get(timeout=PATIENCE)
        with pytest.raises(Exception, match="Unspeakable"):
            trouble.unspeakable.delay().get(timeout=PATIENCE)
        assert trouble.good.delay(1).get(timeout=PATIENCE) == 1
        assert process.terminate() == 0


def test_a_task_of_the_next_release_is_left_for_the_workers_that_know_it(trouble, broker, monkeypatch):
    monkeypatch.delenv("TROUBLE_NEW")
    with worker(broker, "-c", "1", "-n", "old") as old:
        old.ready()
        waiting = [trouble.new.delay(number) for number in range(5)]
        old.until("no worker of queue")
        monkeypatch.setenv("TROUBLE_NEW", "1")
        with worker(broker, "-c", "1", "-n", "new"):
            assert [result.get(timeout=PATIENCE) for result in waiting] == list(range(5))
        told = [line for line in old.lines if "trouble.new" in line and "no worker of queue" in line]
        assert len(told) == 1, told


def test_the_higher_priority_first_and_a_retry_keeps_its_own(trouble, broker, path):
    for number in (3, 9, 0, 5, 7, 1):
        task = trouble.count_twice if number == 5 else trouble.count
        task.apply_async((path, number), priority=number)
    with worker(broker, "-c", "1", "-Q", "levels", "--burst") as process:
        assert process.process.wait(PATIENCE) == 0
    ran = [int(number) for number in notes(path)]
    assert sorted(ran) == [0, 1, 3, 5, 7, 9]
    assert [number for number in ran if number != 5] == [9, 7, 3, 1, 0]
    assert ran.index(5) < ran.index(1), "one may have been taken ahead while it was tried again"
