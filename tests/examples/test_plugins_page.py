"""docs/reference/plugins.md: its programs run, and every hook stands in it."""

import inspect
import re
from pathlib import Path

import pluggy
import pytest
from tests.examples.test_examples import run

from celeriac import hookspecs
from celeriac.hooks import TASK_HOOKS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "plugins.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
HOOKS = {name: value for name, value in vars(hookspecs).items() if name.startswith("celeriac_")}
PRINTS = [["mid.invoice for shop-1: quick", "invoice 17"], ["w1@here {'succeeded': 1, 'failed': 1}"], []]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_prints(number, tmp_path):
    (tmp_path / "mid.py").write_text(PROGRAMS[number])
    printed = run("-c", "import mid", cwd=tmp_path)
    assert sorted(printed) == sorted(PRINTS[number])


def test_every_hook_is_documented_with_its_arguments():
    rows = re.findall(r"^\| `(celeriac_\w+)\((.*?)\)` \| \S", PAGE, re.MULTILINE)
    expected = {name: ", ".join(inspect.signature(hook).parameters) for name, hook in HOOKS.items()}
    missing = expected.keys() - dict(rows).keys()
    assert not missing, f"docs/reference/plugins.md wants a row for {', '.join(sorted(missing))}"
    assert sorted(rows) == sorted(expected.items())


def test_what_looks_like_a_hook_is_one():
    manager = pluggy.PluginManager("celeriac")
    manager.add_hookspecs(hookspecs)
    assert {name for name, caller in vars(manager.hook).items() if caller.has_spec()} == HOOKS.keys()
    assert HOOKS.keys() > TASK_HOOKS.keys()
    assert all(hook.__doc__ for hook in HOOKS.values())
