"""A plugin from outside: our wheel and that of examples/transport-nats, in a clean environment, on a real server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "transport-nats"
PROGRAMS = Path(__file__).parent / "programs"
SERVER = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")
TASKS = 10_000
SENDER = f"""
import sums
results = sums.add.delay_many([(i, i) for i in range({TASKS})])
print(sum(result.get(timeout=60) == 2 * i for i, result in enumerate(results)))
sums.app.close()
"""
BURIER = """
import sums
from celeriac.message import Dead, DeadLetter, Message, Settlement

async def bury(transport):
    await transport.publish([Message(id="buried", routing_key="celeriac", headers={"task": "sums.add"})])
    async with transport.consume(["celeriac"], prefetch=1) as consumer:
        (delivery,) = await consumer.receive(1, 10)
        await consumer.settle([Settlement(delivery.token, Dead(DeadLetter(reason="told to")))])

client = sums.app.client
client.portal.run(client.connection.ready())
client.portal.run(bury(client.connection.transport))
sums.app.close()
"""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the two wheels and what they need; returns where its programs are."""
    folder = tmp_path_factory.mktemp("clean")
    wheels = folder / "wheels"
    for project in (ROOT, EXAMPLE):
        source = folder / project.name
        kept = shutil.ignore_patterns(".venv", ".git", ".bench", "__pycache__", ".*_cache")
        shutil.copytree(project, source, ignore=kept)
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, source, cwd=folder)
    run(sys.executable, "-m", "venv", folder / "env", cwd=folder)
    programs = folder / "env" / "bin"
    run(programs / "python", "-m", "pip", "install", "-q", *wheels.glob("*.whl"), "pytest>=8.3", cwd=folder)
    return programs


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of our own, without a namespace."""
    if SERVER is None:
        unavailable("nats-server is not installed here")
    folder = tmp_path_factory.mktemp("nats")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    process = subprocess.Popen([SERVER, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder, "-l", folder / "log"])
    deadline = time.monotonic() + 20
    while not answers(port):
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)
    yield f"nats://127.0.0.1:{port}"
    process.kill()
    process.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CELERIAC_", "PYT"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def run(*command: object, cwd: Path, timeout: float = 300, **more: str) -> str:
    words = list(map(str, command))
    done = subprocess.run(
        words, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{words}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.timeout(300)
def test_only_the_two_wheels_are_there(clean: Path, tmp_path: Path) -> None:
    code = "import celeriac, celeriac_nats, importlib.util as u; print(celeriac.__file__, u.find_spec('pika'))"
    said = run(clean / "python", "-c", code, cwd=tmp_path)
    assert str(clean.parent) in said
    assert said.split()[1] == "None"
    listed = subprocess.run(
        [clean / "celeriac", "plugins", "--json"], cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert (rows["nats"]["distribution"], rows["nats"]["error"]) == ("celeriac-nats", None)
    assert rows["nats"]["capabilities"]["nats"]["revocations"] is True
    assert (rows["amqp"]["install"], rows["amqp"]["error"]) == ("celeriac[amqp]", None)
    assert listed.returncode == 0, "an extra that is not installed is no failure"


@pytest.mark.timeout(300)
def test_it_keeps_both_contracts(clean: Path, tmp_path: Path) -> None:
    """By its own tests, which start a server of their own; every clause that is declared has been tried."""
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    shutil.copy(EXAMPLE / "pyproject.toml", tmp_path)
    said = run(clean / "python", "-m", "pytest", "-q", "tests", cwd=tmp_path, timeout=280)
    assert " failed" not in said
    assert "gives no fixture" not in said


@pytest.mark.timeout(300)
def test_the_main_job_with_only_the_url_changed(clean: Path, nats: str, tmp_path: Path) -> None:
    url = f"{nats}/sums"
    shutil.copy(PROGRAMS / "sums.py", tmp_path)
    command = [clean / "celeriac", "-A", "sums", "worker", "-c", "2", "-l", "WARNING"]
    worker = subprocess.Popen(command, cwd=tmp_path, env=environment(SUMS_BROKER=url))
    try:
        assert run(clean / "python", "-c", SENDER, cwd=tmp_path, SUMS_BROKER=url).split() == [str(TASKS)]
    finally:
        worker.terminate()
        assert worker.wait(40) == 0
    run(clean / "python", "-c", BURIER, cwd=tmp_path, SUMS_BROKER=url)
    (row,) = json.loads(run(clean / "celeriac", "queues", "--json", "-b", url, "-Q", "celeriac", cwd=tmp_path))
    assert (row["ready"], row["running"], row["dead"]) == (0, 0, 1)
    assert "buried" in run(clean / "celeriac", "dead", "list", "-b", url, cwd=tmp_path)


@pytest.mark.timeout(300)
def test_the_demo_and_a_check_of_a_live_broker(clean: Path, nats: str, tmp_path: Path) -> None:
    assert "every result is right" in run(clean / "celeriac", "demo", "-b", f"{nats}/demo", cwd=tmp_path)
    only = ("--only", "LIFE-1,TOP,PUT-6,SET-4,LOSS")
    told = json.loads(run(clean / "celeriac", "plugins", "check", f"{nats}/check", "--json", *only, cwd=tmp_path))
    assert told["ok"]
    assert {"LIFE-1", "LOSS-2", "PUT-6", "SET-4", "TOP-9"} <= {
        c["id"] for c in told["clauses"] if c["status"] == "passed"
    }
