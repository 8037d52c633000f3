"""A worker's health while its broker goes and comes, and a worker that drains queues of RabbitMQ and ends."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
from worker_process import WorkerProcess

from celeriac import App
from celeriac.cli import exits, main
from celeriac.testing import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE = 40.0
TASK = "sums.add"


@pytest.fixture
def until_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    monkeypatch.setenv("CELERIAC_RUNTIME_DIR", str(tmp_path))

    def until(code: int) -> list[str]:
        deadline = time.monotonic() + PATIENCE
        while True:
            found = main(["health", "--json"])
            said = capsys.readouterr().out
            if found == code and said:
                return [problem for each in json.loads(said) for problem in each["problems"]]
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    return until


@pytest.mark.parametrize("fault", ["refuse", "blackhole"])
def test_a_broker_that_goes_and_comes(fault: str, amqp_url: str, until_health: Callable[..., list[str]]) -> None:
    with FaultProxy(amqp_url) as proxy:
        url = proxy.url(amqp_url) + "?heartbeat=2"
        with WorkerProcess("sums", url, "-c", "1") as worker:
            worker.ready()
            assert until_health(exits.OK) == []
            getattr(proxy, fault)()
            begun = time.monotonic()
            (problem,) = until_health(exits.FAILED)
            assert re.match("it has lost the broker: .", problem)
            assert "guest:guest" not in problem
            assert main(["health", "--live"]) == exits.OK
            assert time.monotonic() - begun < 10
            proxy.heal()
            assert until_health(exits.OK) == []
            assert worker.terminate() == exits.OK


def test_burst(amqp_url: str) -> None:
    """Nothing is left behind, not even of what the broker had pushed to a worker that was busy."""
    app = App("client", broker=amqp_url)
    with app.batch():
        for n in range(300):
            app.send_task(TASK, [n, 1], ignore_result=True)
    with WorkerProcess("sums", amqp_url, "-c", "2", "--burst") as worker:
        assert worker.process.wait(PATIENCE) == exits.OK
        assert sum("succeeded" in line for line in worker.lines) == 300
    depth = app.client.connection.transport.depth("celeriac")
    assert app.client.portal.run(depth).ready == 0
    app.close()
