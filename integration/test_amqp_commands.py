"""The `celeriac` command against a real RabbitMQ: what works there, and how a bad beginning is told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest

from celeriac.cli import exits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 20.0
SECRET = "hush"  # noqa: S105 - a wrong one, looked for in what is printed
TASKS = """
from celeriac import App, Queue
app = App(broker={url!r}, queues=[Queue("commands")], default_queue="commands")

@app.task
def add(x, y):
    return x + y

other = App(broker={url!r}, queues=[Queue("commands", priorities=5)], default_queue="commands")
"""

Run = "Callable[..., subprocess.CompletedProcess[str]]"


@pytest.fixture
def folder(amqp_vhost: str, tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS.format(url=amqp_vhost))
    return tmp_path


@pytest.fixture
def celeriac(folder: Path) -> Run:
    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "celeriac", *argv]
        environment = {**os.environ, "PYTHONWARNINGS": "error"}
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    return run


@pytest.fixture
def worker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "celeriac", "-A", "tasks:app", "worker", "-c", "1"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert any(line.endswith("ready.\n") for line in process.stdout)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE)
        process.stdout.close()
    assert code == exits.OK


def test_call_waits_for_its_result(celeriac: Run, worker: subprocess.Popen[str]) -> None:
    done = celeriac("call", "-A", "tasks:app", "tasks.add", "-a", "[20, 22]", "--wait", "10", "--json")
    assert done.returncode == exits.OK, done.stderr
    assert json.loads(done.stdout)["result"] == 42
    assert not done.stderr


def test_a_result_of_another_process_needs_a_store(celeriac: Run) -> None:
    done = celeriac("result", "-A", "tasks:app", "some-id")
    assert done.returncode == exits.FAILED
    assert "backend" in done.stderr
    assert done.stderr.count("\n") <= 3


def test_what_the_broker_cannot_say_is_a_question_mark(celeriac: Run) -> None:
    assert celeriac("call", "-A", "tasks:app", "tasks.add", "-a", "[1, 2]").returncode == exits.OK
    done = celeriac("queues", "-A", "tasks:app")
    assert re.search(r"^commands +[1-9]\d* +\? +\? +\? +no +0$", done.stdout, re.MULTILINE), done.stdout + done.stderr
    assert "tasks.add" in celeriac("queues", "peek", "commands", "-A", "tasks:app").stdout
    assert celeriac("queues", "purge", "commands", "-f", "-A", "tasks:app").returncode == exits.OK


def changed(url: str, **parts: str | int) -> str:
    old = urlsplit(url)
    new = {"user": old.username or "guest", "password": old.password or "guest", "port": old.port or 5672, **parts}
    path = parts.get("path", old.path)
    return urlunsplit((old.scheme, f"{new['user']}:{new['password']}@{old.hostname}:{new['port']}", str(path), "", ""))


@pytest.mark.parametrize(
    ("parts", "code", "words"),
    [
        ({"password": SECRET}, exits.REFUSED, "password"),
        ({"path": "/no-such-vhost"}, exits.REFUSED, "no-such-vhost"),
        ({"port": 1, "password": SECRET}, exits.UNAVAILABLE, ":1"),
    ],
)
@pytest.mark.parametrize("command", ["worker", "call", "queues"])
def test_a_broker_that_cannot_be_had(
    command: str, parts: dict[str, str | int], code: int, words: str, celeriac: Run, amqp_vhost: str
) -> None:
    begun = time.monotonic()
    task = ["tasks.add", "-a", "[1, 2]"] if command == "call" else []
    done = celeriac(command, *task, "-A", "tasks:app", "-b", changed(amqp_vhost, **parts))
    assert time.monotonic() - begun < 5
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") <= 3
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("options", [[], ["-Q", "commands"]])
def test_a_queue_declared_otherwise(options: list[str], celeriac: Run) -> None:
    assert celeriac("call", "-A", "tasks:app", "tasks.add", "-a", "[1, 2]").returncode == exits.OK
    done = celeriac("worker", "-A", "tasks:other", *options)
    assert done.returncode == exits.MISCONFIGURED
    assert "'commands'" in done.stderr
    assert "x-queue-type" in done.stderr
    assert done.stderr.count("\n") <= 3
    assert celeriac("queues", "purge", "commands", "-f", "-A", "tasks:app").returncode == exits.OK
