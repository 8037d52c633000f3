"""One task each way with a real Celery on the same RabbitMQ; either side may start first."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from worker_process import PROGRAMS, WorkerProcess

from celeriac import App

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["celery declares first", "celeriac declares first"])
def first(request, celery_python, amqp_url):
    if request.param == "celery declares first":
        _celery(celery_python, amqp_url, "declare")
    return request.param


def _celery(python: Path, url: str, what: str) -> str:
    environment = {**os.environ, "SUMS_BROKER": url}
    command = [str(python), "celery_side.py", what]
    done = subprocess.run(
        command, cwd=PROGRAMS, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_celery_client_is_answered_by_our_worker(celery_python, amqp_url, first):
    with WorkerProcess("fleet", amqp_url, "-c", "1") as worker:
        worker.ready()
        assert _celery(celery_python, amqp_url, "send").splitlines() == ["5", "('boom', 42)"]


def test_our_client_is_answered_by_a_celery_worker(celery_python, amqp_url, first):
    app = App("fleet", broker=amqp_url, fleet="celery")
    results = [app.send_task("wapp.add", (2, 3)), app.send_task("wapp.fail")]
    command = [str(celery_python), "-m", "celery", "-A", "celery_side", "worker", "-P", "solo", "-l", "WARNING"]
    environment = {**os.environ, "SUMS_BROKER": amqp_url}
    worker = subprocess.Popen(
        command, cwd=PROGRAMS, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert results[0].get(timeout=30) == 5
        with pytest.raises(ValueError, match="boom") as caught:
            results[1].get(timeout=30)
        assert caught.value.args == ("boom", 42)
    finally:
        worker.terminate()
        worker.wait(30)
        app.close()
