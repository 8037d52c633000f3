"""Seeds that are run: as many as fit, the same seed twice, and the command that replays one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from celeriac.testing.simulation import simulate
from celeriac.testing.simulation.command import main

QUICK_SECONDS = 15
SOAK_SECONDS = 300
FEWEST = 40  # however slow the machine is


def hunt(first, seconds):
    """Run seeds until the time is over, and some at least; fail with what was broken."""
    deadline, seed = time.monotonic() + seconds, first
    while time.monotonic() < deadline or seed < first + FEWEST:
        report = simulate(seed)
        assert report.ok, f"seed {seed}: {[str(each) for each in report.violations]}"
        seed += 1


def test_every_promise_is_kept_in_seed_after_seed():
    hunt(1000, QUICK_SECONDS)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS + 60)
def test_every_promise_is_kept_for_five_minutes():
    hunt(int(time.time()) * 1000, SOAK_SECONDS)


def test_the_same_seed_tells_the_same_story():
    first, second = simulate(7), simulate(7)
    assert first.story.lines == second.story.lines
    assert (first.steps, first.seconds) == (second.steps, second.seconds)
    assert simulate(8).story.lines != first.story.lines


@pytest.mark.parametrize("hashes", ["0", "1"])
def test_another_process_with_other_hashes_tells_it_too(hashes):
    ran = subprocess.run(
        [sys.executable, "-m", "celeriac.testing.simulation", "--seed", "7", "--verbose"],
        env={**os.environ, "PYTHONHASHSEED": hashes},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == [str(line) for line in simulate(7).story.lines]


def test_a_seed_is_eventful():
    reports = [simulate(seed) for seed in range(30)]
    text = "\n".join(str(line) for report in reports for line in report.story.lines)
    for event in (
        "dead: kill -9",
        "dead: killed after a call",
        "connection lost",
        "cut off",
        "stands still",
        "the broker is down",
        "told to stop",
        "set aside as crashed",
        "run ends: Died",
        "run ends: Interrupted",
        "run ends: Retried",
        "settled: given back",
        "not confirmed",
        "result stored: REVOKED",
    ):
        assert event in text, event
    assert sum(report.runs for report in reports) > 300


def test_the_command_counts(capsys):
    assert main(["--first", "20", "--seeds", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seeds"] == 5
    assert told["failed"] == {}
    assert told["runs"] > 0
    assert main(["--seeds", "2"]) == 0
    assert "seeds: 2\n" in capsys.readouterr().out


def test_the_command_tells_one_story(capsys):
    assert main(["--seed", "7"]) == 0
    assert capsys.readouterr().out == "seed 7: every promise was kept\n"
    assert main(["--seed", "7", "--verbose"]) == 0
    whole = capsys.readouterr().out.splitlines()
    assert len(whole) == len(simulate(7).story.lines)
    task = next(line.task_id for line in simulate(7).story.lines if line.task_id)
    assert main(["--seed", "7", "--verbose", "--task", task]) == 0
    trimmed = capsys.readouterr().out.splitlines()
    assert 0 < len(trimmed) < len(whole)
    assert any(task in line for line in trimmed)
    assert set(trimmed) < set(whole)
