"""docs/tutorial/first-steps.md says that its programs print the same on RabbitMQ, where only the URL is told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.pages import BY_PATH, DOCS
from tests.examples.test_examples import environment

PAGE = BY_PATH[DOCS / "tutorial" / "first-steps.md"]
PROGRAMS = {fence.name: fence.text for fence in PAGE.having("python")}


@pytest.fixture
def told(amqp_url):
    return {**environment(), "CELERIAC_BROKER": amqp_url}


@pytest.fixture
def worker(told, tmp_path):
    (tmp_path / "tasks.py").write_text(PROGRAMS["tasks.py"])
    command = [sys.executable, "-m", "celeriac", "-A", "tasks", "worker", "-c", "1"]
    with subprocess.Popen(command, cwd=tmp_path, env=told, stdout=subprocess.PIPE, text=True) as process:
        assert any(line.endswith("ready.\n") for line in process.stdout)
        yield
        process.terminate()
    assert process.returncode == 0


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("name", ["send.py", "retry.py", "later.py", "many.py"])
def test_a_program_prints_the_same(name, told, tmp_path):
    Path(tmp_path, name).write_text(PROGRAMS[name])
    done = subprocess.run(
        [sys.executable, name], cwd=tmp_path, env=told, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == re.findall(r"# -> (.*)$", PROGRAMS[name], re.MULTILINE)
    assert not list(tmp_path.glob("celeriac.db"))
