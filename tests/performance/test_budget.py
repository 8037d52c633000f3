"""No room of a task's way becomes dearer by more than a tenth unnoticed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.performance.budget import FILE, MARGIN, MEASURE_AGAIN, PYTHON, budget, over
from tests.performance.rooms import ROOMS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured():
    """What an interpreter of its own executes: nothing that pytest has imported or traces is in it."""
    command = [sys.executable, "-m", "tests.performance", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_room_costs_more_than_its_budget(measured):
    allowed = budget()
    if allowed is None:
        pytest.skip(f"nobody has measured with Python {PYTHON} yet: {MEASURE_AGAIN}")
    too_dear = over(measured, allowed)
    assert not too_dear, (
        "\n" + "\n".join(too_dear) + "\nTake the waste out (python -m tests.performance shows every room), or, if the "
        f"task's way has more to do now, say so in the commit and measure again with each Python: {MEASURE_AGAIN}"
    )


def test_every_room_is_measured(measured):
    assert measured.keys() == ROOMS.keys()
    assert all(cost > 0 for costs in measured.values() for cost in costs.values())


def test_every_python_has_a_budget_for_every_room():
    for python, rooms in json.loads(FILE.read_text(encoding="utf-8")).items():
        assert rooms.keys() == ROOMS.keys(), python


def test_a_rise_beyond_the_margin_is_told_with_its_room_and_figures():
    allowed = {"run": {"bytecodes": 1000, "calls": 50}}
    within = {"run": {"bytecodes": round(1000 * (1 + MARGIN)), "calls": 40}}
    beyond = {"run": {"bytecodes": 1101, "calls": 50}}
    assert over(within, allowed) == []
    assert over(beyond, allowed) == ["run: 1,101 bytecodes a task, 10.1 % above the budget of 1,000"]
