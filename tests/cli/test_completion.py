"""`celeriac completion`: what the script for bash offers, in bash; and that the others are well written."""

import json
import shutil
import subprocess
import sys

import pytest

from celeriac.cli import exits, main
from celeriac.cli.completion import SHELLS
from celeriac.cli.main import COMMANDS

pytest.importorskip("shtab")

ASK = """
source {script}
set -- {words}
COMP_WORDS=(celeriac "$@" '{last}') COMP_CWORD=$(($# + 1)) COMPREPLY=()
_shtab_celeriac celeriac '{last}' "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    for shell in SHELLS:
        command = [sys.executable, "-m", "celeriac", "completion", shell]
        (folder / shell).write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    return folder


@pytest.mark.parametrize(
    ("words", "last", "offered"),
    [
        ("", "wo", {"worker"}),
        ("", "", set(COMMANDS)),
        ("worker", "--rel", {"--reload"}),
        ("worker -A tasks", "--health", {"--health-port"}),
        ("-A tasks", "wo", {"worker"}),
        ("-A tasks worker", "--poo", {"--pool"}),
        ("queues", "p", {"pause", "peek", "purge"}),
        ("worker -l", "W", {"WARNING"}),
        ("completion", "", set(SHELLS)),
        ("config", "--or", {"--origin"}),
    ],
)
def test_bash_completes(words, last, offered, scripts):
    ask = ASK.format(script=scripts / "bash", words=words, last=last)
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    found = set(done.stdout.split())
    assert found == offered if last else found >= offered


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_names_the_commands_and_can_be_read(shell, scripts):
    text = (scripts / shell).read_text()
    assert all(name in text for name in COMMANDS)
    if shutil.which(shell) and shell != "tcsh":
        subprocess.run([shell, "-n", scripts / shell], check=True)


def test_as_json(capsys):
    assert main(["completion", "zsh", "--json"]) == exits.OK
    assert json.loads(capsys.readouterr().out)["script"].startswith("#compdef celeriac")


def test_without_shtab(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == exits.MISCONFIGURED
    assert "pip install 'celeriac[completion]'" in capsys.readouterr().err


def test_a_shell_that_nobody_knows(capsys):
    assert main(["completion", "cmd"]) == exits.USAGE
    assert "bash" in capsys.readouterr().err
