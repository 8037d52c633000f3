"""Nothing is required without a record of why: each requirement has a row in the table of decision 31."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RECORD = (ROOT / "docs" / "decisions" / "0031-drivers-and-codecs-are-extras.md").read_text(encoding="utf-8")
ROWS = set(re.findall(r"^\| (?:`(\w+)`|none) \| ([\w.-]+) [\d.]+ \|(?: [^|]+ \|){5}$", RECORD, re.MULTILINE))
FOR_DEVELOPERS = "dev"


def required() -> set[tuple[str, str]]:
    """Each extra with each library that it asks for; an empty extra is everybody's."""
    found = {("", _name(each)) for each in PROJECT["dependencies"]}
    for extra, requirements in PROJECT["optional-dependencies"].items():
        if extra != FOR_DEVELOPERS:
            found |= {(extra, name) for each in requirements if (name := _name(each)) != PROJECT["name"]}
            found |= {(extra, inner) for each in requirements for inner in _brought(each)}
    return found


def _name(requirement: str) -> str:
    return re.split(r"[\[<>=; ]", requirement, maxsplit=1)[0]


def _brought(requirement: str) -> list[str]:
    """What a library's own extra brings, where it is named as it."""
    if _name(requirement) == PROJECT["name"]:
        return []
    extras = re.search(r"\[(.+)\]", requirement)
    return extras[1].split(",") if extras else []


def test_each_requirement_has_a_row_and_each_row_a_requirement() -> None:
    assert required() == ROWS


def test_one_thing_is_required_of_everybody() -> None:
    assert PROJECT["dependencies"] == ["pluggy>=1.5"]


@pytest.mark.parametrize(("requirement", "found"), [("redis[hiredis]>=5.2", ["hiredis"]), ("celeriac[all]", [])])
def test_what_an_extra_brings(requirement: str, found: list[str]) -> None:
    assert _brought(requirement) == found
