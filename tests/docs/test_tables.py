"""The tables of options and commands are the options and the commands."""

import inspect
import re
from dataclasses import fields

from tests.docs.pages import DOCS

from celeriac.app import TASK_OPTIONS
from celeriac.cli.main import COMMANDS
from celeriac.retry import RetryOptions
from celeriac.task import CallOptions, Task

OPTIONS = (DOCS / "reference" / "options.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \| `(.*?)` \| \S", re.MULTILINE)


def part(title):
    return OPTIONS.partition(f"## {title}\n")[2].partition("\n## ")[0]


def defaults(cls):
    return [(each.name, repr(each.default)) for each in fields(cls)]


def test_the_options_of_a_call():
    assert ROW.findall(part("Of a call")) == defaults(CallOptions)


def test_the_options_of_a_task():
    of_init = inspect.signature(Task.__init__).parameters
    own = [(name, "None" if name == "name" else repr(of_init[name].default)) for name in TASK_OPTIONS]
    assert sorted(ROW.findall(part("Of a task"))) == sorted([*own, *defaults(RetryOptions)])


def test_the_commands():
    page = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| `celeriac (\w+)", page, re.MULTILINE)
    assert [(name, meaning) for name, meaning, _ in rows] == list(COMMANDS.items())
    assert all(name == example for name, _, example in rows)
