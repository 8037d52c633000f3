"""Tasks that are ended, by their limit, by whoever has sent them, and with their worker: with real processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from worker_process import PROGRAMS, WorkerProcess, alive

from celeriac import TimeLimitExceeded
from celeriac.errors import TaskRevoked

PATIENCE = 30


@pytest.fixture(params=["amqp", "redis", "sqlite"])
def broker(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/celeriac.db"
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def endings(broker, monkeypatch):
    """The module of the tasks, imported here for this broker."""
    monkeypatch.setenv("ENDINGS_BROKER", broker)
    monkeypatch.syspath_prepend(str(PROGRAMS))
    sys.modules.pop("endings", None)
    import endings

    yield endings
    endings.app.close()


@pytest.fixture
def path(tmp_path):
    (tmp_path / "notes").touch()
    return str(tmp_path / "notes")


def worker(broker, *arguments):
    return WorkerProcess("endings", broker, "-c", "1", *arguments, variable="ENDINGS_BROKER")


def notes(path):
    return Path(path).read_text().split()


def until(path, word, timeout=PATIENCE):
    """Return once a task has told ``word``: only looking can tell."""
    deadline = time.monotonic() + timeout
    while word not in notes(path):
        assert time.monotonic() < deadline, f"{word} was not told: {notes(path)}"
        time.sleep(0.01)


def test_a_task_that_holds_the_gil_fails_at_its_limit_and_its_neighbour_succeeds(endings, broker, path):
    with worker(broker) as process:
        process.ready()
        neighbour = endings.ahold.delay(path, 2)
        until(path, "ahold")
        hog = endings.hog.delay(path)
        until(path, "hog")
        begun = time.monotonic()
        with pytest.raises(TimeLimitExceeded, match="1 s"):
            hog.get(timeout=PATIENCE)
        assert time.monotonic() - begun < 3
        assert neighbour.get(timeout=PATIENCE) == "aheld"
    assert notes(path).count("hog") == 1
    assert notes(path).count("ahold") == 2


def test_what_was_revoked_before_any_worker_ran_never_runs(endings, broker, path):
    unwanted, wanted = endings.hold.delay(path), endings.ahold.delay(path, 0)
    unwanted.revoke()
    with worker(broker):
        assert wanted.get(timeout=PATIENCE) == "aheld"
        with pytest.raises(TaskRevoked):
            unwanted.get(timeout=PATIENCE)
    assert notes(path) == ["ahold", "aheld"]


def test_what_expires_behind_another_in_its_worker_never_begins(endings, broker, path):
    with worker(broker) as process:
        process.ready()
        first = endings.hold.delay(path, 0.6)  # shorter than what makes a worker give back what waits
        until(path, "hold")
        late = endings.hold.apply_async((path,), expires=0.3)
        assert first.get(timeout=PATIENCE) == "held"
        with pytest.raises(TaskRevoked, match="expired"):
            late.get(timeout=PATIENCE)
        assert late.state == "REVOKED"
        assert endings.ahold.delay(path, 0).get(timeout=PATIENCE) == "aheld"
    assert notes(path) == ["hold", "held", "ahold", "aheld"]


def test_what_runs_is_cancelled_or_terminated(endings, broker, path):
    with worker(broker) as process:
        process.ready()
        coroutine = endings.ahold.delay(path)
        until(path, "ahold")
        coroutine.revoke()
        until(path, "cancelled", timeout=1)
        with pytest.raises(TaskRevoked):
            coroutine.get(timeout=PATIENCE)
        function = endings.hold.delay(path)
        until(path, "hold")
        function.revoke(terminate=True)
        with pytest.raises(TaskRevoked):
            function.get(timeout=PATIENCE)
        assert endings.ahold.delay(path, 0).get(timeout=PATIENCE) == "aheld"
    assert "held" not in notes(path)


def test_who_signals_every_process_of_a_service_still_lets_what_runs_finish(endings, broker, path):
    with worker(broker, "--grace", "20") as process:
        process.ready()
        results = [endings.hold.delay(path, 1), endings.ahold.delay(path, 1)]
        for word in ("hold", "ahold"):
            until(path, word)
        for pid in process.family():
            os.kill(pid, signal.SIGTERM)
        assert process.process.wait(PATIENCE) == 0
        assert [result.get(timeout=PATIENCE) for result in results] == ["held", "aheld"]


def test_who_signals_twice_ends_everything_at_once(endings, broker, path):
    with worker(broker, "--grace", "60") as process:
        process.ready()
        endings.hold.delay(path)
        until(path, "hold")
        family = process.family()
        process.process.send_signal(signal.SIGTERM)
        process.until("stopping")
        asked = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(PATIENCE) == 0
        assert time.monotonic() - asked < 5
        assert alive(family) == []
    assert notes(path) == ["hold"]
