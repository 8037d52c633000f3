"""The documents build as a site without a warning: no dead link, no lonely page, no docstring that breaks."""

import re
import runpy
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
cli = import_module("celeriac.cli.main")  # the package has a function of that name
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def test_the_site_is_built(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "trees")]
    done = subprocess.run([*command, str(DOCS), str(tmp_path / "site")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in DOCS.glob("*.md"):
        assert (tmp_path / "site" / f"{page.stem}.html").exists()


def commands():
    for page in PAGES:
        for block in re.findall(
            r"^ *```(?:bash|console)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        ):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.strip().removeprefix("$ "), comments=True)
                if words[:1] == ["celeriac"]:
                    yield pytest.param(words[1:], id=f"{page.name}: {line.strip()}")
    for line in re.findall(r"\| `celeriac (.*)` \|$", (DOCS / "commands.md").read_text(encoding="utf-8"), re.MULTILINE):
        yield pytest.param(shlex.split(line), id=f"commands.md: {line}")


@pytest.mark.parametrize("argv", [*commands()])
def test_a_command_is_one(argv):
    before = cli._before_the_command().parse_args(argv)
    command = import_module(f"celeriac.cli.{before.command}")
    cli._of_the_command("celeriac", command, before).parse_intermixed_args(before.rest)


def test_the_commands_are_all_there():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", (DOCS / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == cli.COMMANDS


def test_the_pictures_are_drawn_by_their_program():
    pictures = runpy.run_path(str(DOCS / "pictures" / "draw.py"))["PICTURES"]
    assert pictures.keys() == {path.name for path in (DOCS / "pictures").glob("*.svg")}
    for name, draw in pictures.items():
        assert (DOCS / "pictures" / name).read_text(encoding="utf-8") == draw().svg(), "run docs/pictures/draw.py"
