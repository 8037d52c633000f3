"""RabbitMQ and Redis in containers, by the testcontainers library: the main job, and what docs/testing.md shows."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import containers
from contained import contained, image, url_of
from tests.examples.test_testing_page import PROGRAMS
from witness import until
from worker_process import WorkerProcess, alive

from celeriac import App

if TYPE_CHECKING:
    from pathlib import Path

TASKS = 2_000


@pytest.fixture(params=["rabbitmq", "redis"])
def broker(request: pytest.FixtureRequest):
    containers()
    with contained(request.param) as container:
        yield url_of(request.param, container)


def test_the_main_job(broker: str) -> None:
    app = App("sums", broker=broker)

    @app.task(name="sums.add")
    def add(x: int, y: int) -> int:
        return x + y

    try:
        with WorkerProcess("sums", broker, "-c", "2", "-l", "WARNING") as worker:
            results = add.delay_many([(i, i) for i in range(TASKS)])
            assert [result.get(timeout=60) for result in results] == [2 * i for i in range(TASKS)]
            family = worker.family()
            assert worker.terminate() == 0
            assert alive(family) == []
        until(lambda: app.client.portal.run(app.client.connection.transport.depth("celeriac")).ready == 0)
    finally:
        app.close()


def test_the_fixture_of_the_page(tmp_path: Path) -> None:
    containers()
    found = {name.partition("/")[2]: text for name, text in PROGRAMS.items() if name.startswith("containers/")}
    for name, text in found.items():
        (tmp_path / name).write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "RABBITMQ_IMAGE": image("rabbitmq")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
