"""The suite runs, from the command line to the table, where there is no server at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)


def test_a_quick_run_of_ours_alone(tmp_path):
    file = tmp_path / "results.json"
    done = run("--quick", "--rounds", "1", "--peers", "", "--rows", "drain_sqlite,commands", "--json", str(file))
    assert done.returncode == 0, done.stderr
    assert "mean nothing" in done.stdout
    assert "| celeriac, synchronous=full | file | kept, in the file |" in done.stdout
    assert "--peers does not name huey" in done.stdout
    runs = json.loads(file.read_text())["runs"]
    assert {run["row"] for run in runs} == {"drain_sqlite", "commands"}
    assert all(run["figures"] for run in runs)
    assert run("--from", str(file)).stdout == done.stdout


def test_unknown_names_are_refused_with_the_known_ones():
    done = run("--peers", "celry")
    assert done.returncode == 2
    assert "no such peer: celry; there are celery, dramatiq" in done.stderr
    assert "no such row: drain; there are drain_rabbitmq" in run("--rows", "drain").stderr
    assert "written into no page" in run("--quick", "--table").stderr
