"""What mypy and pyright say of tasks: nothing about ``right.py``, and all that is wrong in ``wrong.py``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def by_mypy(file: Path) -> dict[int, str]:
    """Return mypy's error of each line."""
    done = run("mypy", "--config-file", str(ROOT / "pyproject.toml"), "--no-pretty", "--no-error-summary", str(file))
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = re.finditer(rf"^\S*{file.name}:(\d+): error: (.*)$", done.stdout, flags=re.MULTILINE)
    errors = {int(line): text for line, text in (each.groups() for each in found)}
    assert bool(errors) is bool(done.returncode), done.stdout
    return errors


def by_pyright(file: Path) -> dict[int, str]:
    """Return pyright's error of each line."""
    done = run("pyright", "--outputjson", "--pythonpath", sys.executable, str(file))
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = [each for each in json.loads(done.stdout)["generalDiagnostics"] if each["severity"] == "error"]
    return {each["range"]["start"]["line"] + 1: each["message"] for each in found}


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", tool, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)


checkers = pytest.mark.parametrize("errors_of", [by_mypy, by_pyright])


@checkers
def test_right_types_are_right(errors_of) -> None:
    assert errors_of(HERE / "right.py") == {}


@checkers
def test_wrong_ones_are_found(errors_of) -> None:
    file = HERE / "wrong.py"
    wrong = {number for number, line in enumerate(file.read_text().splitlines(), 1) if line.endswith("# wrong")}
    assert wrong
    assert errors_of(file).keys() == wrong
