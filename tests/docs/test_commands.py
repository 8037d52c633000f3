"""Every command line of ``celeriac`` that a page shows is one that the command line takes."""

import shlex

import pytest
from tests.docs.pages import PAGES

from celeriac.cli.main import COMMANDS, parse

SHELLS = ("bash", "console", "sh", "shell")
BETWEEN = {"&&", "||", "|", ";", "&", "(", ")"}


def commands(line):
    """Return the arguments of each ``celeriac`` that a line of shell runs."""
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found, current = [], []
    for word in [*lexer, ";"]:
        if word in BETWEEN or set(word) <= set("<>"):
            while current and "=" in current[0]:  # variables for this command
                current.pop(0)
            if current and current[0].rpartition("/")[2] == "celeriac":
                found.append(current[1:])
            current = []
        else:
            current.append(word)
    return found


SHOWN = [
    pytest.param(words, id=f"{page}: {shlex.join(words)}")
    for page in PAGES
    for fence in page.having(*SHELLS)
    for line in fence.text.replace("\\\n", " ").splitlines()
    for words in commands(line)
]


@pytest.mark.parametrize("words", SHOWN)
def test_a_command_is_understood(words):
    assert parse(words).command in COMMANDS


def test_commands_are_found_where_they_stand():
    assert commands("A=1 .venv/bin/celeriac -A tasks worker -l INFO && celeriac health | head") == [
        ["-A", "tasks", "worker", "-l", "INFO"],
        ["health"],
    ]
    assert commands("pip install celeriac  # celeriac demo") == []
    assert len(SHOWN) > 30


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_command_in_the_text_is_one(page):
    for span in page.spans:
        words = span.split()
        if len(words) > 1 and words[0] == "celeriac" and words[1] != "COMMAND":
            assert words[1:] == ["--help"] or set(words[1:]) & COMMANDS.keys(), f"{page}: `{span}`"
