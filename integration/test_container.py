"""A worker as the first process of a container, which no shell and no init stands above: PID 1 of its own namespace."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import unavailable
from witness import Witness, until
from worker_process import PROGRAMS, WorkerProcess, alive

PATIENCE = 30
FIRST = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")
AHEAD = 6


@pytest.fixture(params=["amqp", "sqlite"])
def broker(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/celeriac.db"
    return request.getfixturevalue("amqp_url")


@pytest.fixture
def trouble(broker, monkeypatch):
    monkeypatch.setenv("TROUBLE_BROKER", broker)
    monkeypatch.syspath_prepend(str(PROGRAMS))
    sys.modules.pop("trouble", None)
    import trouble

    yield trouble
    trouble.app.close()


@pytest.fixture
def container(broker):
    """A worker that is PID 1, and that process as it is seen from outside."""
    if shutil.which(FIRST[0]) is None or os.geteuid() != 0:
        unavailable("a process namespace needs unshare, and root")
    with WorkerProcess(
        "trouble", broker, "-c", "1", "--grace", "20", variable="TROUBLE_BROKER", prefix=FIRST
    ) as worker:
        worker.ready()
        first = next(pid for pid in worker.family() if namespaced(pid)[-1] == 1)
        yield worker, first


def namespaced(pid: int) -> list[int]:
    """Return the process's number in each of its namespaces, the outermost first."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [int(number) for line in lines if line.startswith("NSpid:") for number in line.split()[1:]]


def test_term_gives_back_the_unstarted_within_a_second_and_lets_what_runs_finish(trouble, broker, container, tmp_path):
    worker, first = container
    path = tmp_path / "notes"
    path.touch()
    results = [trouble.wait.delay(str(path), 3.0) for _ in range(AHEAD)]
    until(lambda: "begun" in path.read_text())
    family = worker.family()
    with Witness(broker) as witness:
        os.kill(first, signal.SIGTERM)
        asked = time.monotonic()
        until(lambda: witness.ready() == AHEAD - 1, 1.0)
        print(f"{AHEAD - 1} unstarted were back {time.monotonic() - asked:.2f} s after TERM")
        assert worker.process.wait(PATIENCE) == 0, "\n".join(worker.lines)
        assert witness.ready() == AHEAD - 1
    assert alive(family) == []
    assert path.read_text().split() == ["begun", "done"]
    assert sum(result.ready() for result in results) == 1


def test_orphans_of_tasks_are_reaped(trouble, container):
    worker, _ = container
    for _ in range(3):
        trouble.orphan.delay().get(timeout=PATIENCE)
    until(lambda: len(sleepers(worker.family())) == 3, 1.5)
    until(lambda: not sleepers(worker.family()), 10, lambda: f"not reaped: {sleepers(worker.family())}")


def sleepers(pids: list[int]) -> list[str]:
    """Return those that the tasks left behind, zombies too."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{pid}/stat").read_text())
    return [stat for stat in found if "(sleep)" in stat]
