"""The main job, on every broker: one process sends, real worker processes run, all the sums are right."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from worker_process import WorkerProcess, alive

from celeriac import App

TASKS = 10_000


@pytest.fixture(params=["amqp", "redis", "sqlite"])
def broker(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/celeriac.db"
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def app(broker, monkeypatch):
    app = App("sums", broker=broker)

    @app.task(name="sums.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="sums.note")
    def note(path: str, number: int) -> int:
        return number

    @app.task(name="sums.hold")
    def hold(path: str, seconds: float) -> None: ...

    yield app
    app.close()


def depth(app: App) -> int:
    return app.client.portal.run(app.client.connection.transport.depth("celeriac")).ready


def until(condition, timeout: float = 30.0):
    """Wait for something that only looking can tell: the file system, a process table."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def test_ten_thousand_sums(app, broker):
    with WorkerProcess("sums", broker, "-c", "2", "-l", "WARNING") as worker:
        results = app.tasks["sums.add"].delay_many([(i, i) for i in range(TASKS)])
        sums = [result.get(timeout=60) for result in results]
        assert sums == [2 * i for i in range(TASKS)]
        family = worker.family()
        assert worker.terminate() == 0
        assert alive(family) == []
    until(lambda: depth(app) == 0)


def test_ten_thousand_sums_in_memory():
    app = App("sums", broker="memory://")

    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    with app.run_worker(pool="thread", concurrency=2):
        results = add.delay_many([(i, i) for i in range(TASKS)])
        assert [result.get(timeout=60) for result in results] == [2 * i for i in range(TASKS)]
        until(lambda: depth(app) == 0)
    app.close()


def test_kill_9_of_the_parent_in_the_middle_loses_nothing(app, broker, tmp_path):
    path = tmp_path / "runs"
    path.touch()
    lease = {"sqlite": "?lease=3", "redis": "&lease=3"}  # RabbitMQ sees the connection close
    broker_url = broker + lease.get(broker.partition(":")[0], "")
    numbers = range(2_000)
    app.tasks["sums.note"].delay_many([(str(path), number) for number in numbers])
    with WorkerProcess("sums", broker_url, "-c", "2") as first:
        first.ready()
        until(lambda: path.read_text().count("\n") > 100)
        family = first.family()
        first.kill()
        died = time.monotonic()
        until(lambda: not alive(family), timeout=5)
        assert time.monotonic() - died < 1.0
    with WorkerProcess("sums", broker_url, "-c", "2"):
        until(lambda: set(path.read_text().split()) == {str(number) for number in numbers}, timeout=60)
    runs = Counter(path.read_text().split())
    print(f"{len(numbers)} sent, {len(runs)} done, {sum(count > 1 for count in runs.values())} run twice")


def test_a_child_that_holds_the_gil_dies_with_its_worker(app, broker, tmp_path):
    path = tmp_path / "begun"
    app.tasks["sums.hold"].delay(str(path), 60.0)
    with WorkerProcess("sums", broker, "-c", "1") as worker:
        until(path.exists)
        until(lambda: path.read_text() != "")
        child = int(path.read_text())
        assert child in worker.family()
        worker.kill()
        until(lambda: not alive([child]), timeout=1.0)


def test_term_gives_back_what_does_not_finish_in_the_grace(app, broker, tmp_path):
    path = tmp_path / "begun"
    app.tasks["sums.hold"].delay(str(path), 60.0)
    with WorkerProcess("sums", broker, "-c", "1", "--grace", "0.2") as worker:
        until(path.exists)
        assert worker.terminate() == 0
    until(lambda: depth(app) == 1)


def test_nothing_is_left_open_by_the_client(app):
    app.close()
    before = open_files()
    app.tasks["sums.add"].delay(1, 2)
    assert open_files() != before
    app.close()
    assert open_files() == before


def open_files() -> Counter[str]:
    """Return what this process has open, by what it leads to; the listing's own descriptor left out."""
    return Counter(str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
