import json
import re
import subprocess
import sys

import pytest

from celeriac import __version__
from celeriac.cli import exits, main
from celeriac.cli.main import COMMANDS
from celeriac.errors import (
    AccessRefused,
    ConfigurationError,
    ConnectionLost,
    NotRegistered,
    PublishUnconfirmed,
    ResultTimeout,
    TopologyMismatch,
    UnknownOption,
    WorkerFailed,
)

QUICK = """
import sys
from celeriac.cli import main
code = main({argv!r})
heavy = [name for name in sys.modules if name.startswith({heavy!r})]
assert not heavy, heavy
sys.exit(code)
"""


@pytest.mark.parametrize("argv", [["--help"], ["--version"], []])
def test_help_imports_neither_worker_nor_brokers(argv):
    heavy = ("celeriac.worker", "celeriac_", "celeriac.cli.w", "celeriac.cli.d", "sqlite3", "pika", "multiprocessing")
    script = QUICK.format(argv=argv, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == (exits.OK if argv else exits.USAGE), done.stderr


def test_module_and_version():
    done = subprocess.run([sys.executable, "-m", "celeriac", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"celeriac {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example_and_json(name, capsys):
    assert main([name, "--help"]) == exits.OK
    out = capsys.readouterr().out
    assert f"example: celeriac {name}" in out or f"example: celeriac -A tasks {name}" in out
    assert "--json" in out
    assert "%%" not in out


def test_the_commands_of_the_table_are_the_ones_there_are(capsys):
    main(["--help"])
    shown = re.findall(r"^  (\w+)  +\S", capsys.readouterr().out.partition("options:")[0], re.MULTILINE)
    assert shown == list(COMMANDS)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "COMMAND"),
        (["wrker"], "did you mean 'worker'?"),
        (["--zip"], "COMMAND"),
        (["call"], "NAME"),
        (["call", "x", "--zip"], "--zip"),
        (["queues", "pek"], "pek"),
        (["worker", "-l", "LOUD"], "LOUD"),
    ],
)
def test_a_wrong_command_line_is_told_in_two_lines(argv, words, capsys):
    assert main(argv) == exits.USAGE
    out, err = capsys.readouterr()
    assert not out
    assert words in err
    assert err.count("\n") == 2
    assert err.splitlines()[1].startswith("See celeriac")
    assert err.splitlines()[1].endswith("--help")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exits.UsageError("x"), 2),
        (ResultTimeout("x"), 75),
        (ConnectionLost("x"), 69),
        (AccessRefused("x"), 77),
        (TopologyMismatch("x"), 78),
        (ConfigurationError("x"), 78),
        (UnknownOption("setting", "x", []), 78),
        (NotRegistered("x"), 1),
        (PublishUnconfirmed("x"), 1),
    ],
)
def test_each_error_has_its_code_and_at_most_three_lines(error, code, capsys):
    assert exits.explain("celeriac x", error) == code
    assert capsys.readouterr().err.count("\n") <= 3


def test_a_long_message_is_cut_and_its_lines_joined(capsys):
    exits.explain("celeriac x", ConfigurationError("many\nlines\n" + "word " * 1000))
    err = capsys.readouterr().err
    assert err.startswith("celeriac x: many lines word")
    assert len(err) < 800
    assert err.count("\n") == 2


def test_a_failed_worker_shows_all_of_it(capsys):
    assert exits.explain("celeriac worker", WorkerFailed("a\nb\nc\nd\ne")) == exits.FAILED
    assert "d\ne" in capsys.readouterr().err


def test_every_exit_code_is_documented():
    documented = {int(code) for code in re.findall(r"^(\d+)  ", exits.__doc__, re.MULTILINE)}
    assert documented == {value for value in vars(exits).values() if type(value) is int} - {exits.LONGEST_MESSAGE}


def test_the_app_may_stand_before_or_after_the_command(celeriac):
    before = celeriac("-A", "tasks", "tasks", "--json")
    after = celeriac("tasks", "--json", "-A", "tasks")
    assert before.returncode == after.returncode == exits.OK, before.stderr
    assert before.stdout == after.stdout
    assert json.loads(after.stdout)[0]["name"] == "tasks.aadd"
    assert celeriac("--app=tasks.py", "--json", "tasks").stdout == after.stdout


def test_a_reader_that_has_gone_is_no_traceback(project):
    script = f"{sys.executable} -m celeriac -A tasks tasks | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode in {exits.UNREAD, exits.OK}
    assert not done.stderr
