"""Tables: drawn on a terminal, plain text elsewhere."""

import io
import sys

import pytest

from celeriac.cli.output import print_table

HEAD = ("QUEUE", "READY", "PAUSED")
ROWS = [("mail", 3, True), ("[bold]celeriac[/bold]", None, False)]
PLAIN = "QUEUE                  READY  PAUSED\nmail                   3      yes\n[bold]celeriac[/bold]  ?      no\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_where_nobody_looks(capsys):
    print_table(HEAD, ROWS)
    assert capsys.readouterr().out == PLAIN


def test_drawn_on_a_terminal(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "60")
    print_table(HEAD, ROWS)
    lines = terminal.getvalue().splitlines()
    assert lines[0].split() == list(HEAD)
    assert set(lines[1]) == {"─"}
    assert lines[2].split() == ["mail", "3", "yes"]
    assert lines[3].split()[0] == "[bold]celeriac[/bold]", "what is shown is no markup"


def test_what_is_too_wide_is_folded_and_not_cut(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "30")
    print_table(("ID", "TASK"), [("3f0c5a1e-7f0f-4d6e-9d0a-1b2c3d4e5f60", "t")])
    joined = "".join(line.split()[0] for line in terminal.getvalue().splitlines()[2:] if line.split())
    assert joined == "3f0c5a1e-7f0f-4d6e-9d0a-1b2c3d4e5f60"


def test_plain_on_a_terminal_without_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    print_table(HEAD, ROWS)
    assert terminal.getvalue() == PLAIN
