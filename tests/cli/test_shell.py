"""`celeriac shell`: which names are there, and that it ends well."""

import os
import pty
import subprocess
import sys
import time

import pytest
from tests.cli.conftest import environment

from celeriac import App
from celeriac.cli import exits
from celeriac.cli.shell import _banner, names_of

SAY = "print(app.tasks['tasks.add'] is add, celeriac.__version__)\nadd(4, 4)\n"


def test_what_is_typed_is_run(project):
    done = subprocess.run(
        [sys.executable, "-m", "celeriac", "shell", "-A", "tasks"],
        cwd=project,
        env=environment(),
        input=f"{SAY}print('sent', add.delay(1, 1).state)\n1/0\n",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == exits.OK
    assert done.stdout.splitlines()[:2] == ["True 0.1.0", "8"]
    assert "sent PENDING" in done.stdout
    assert "ZeroDivisionError" in done.stderr, "a prompt outlives what fails at it"


@pytest.mark.parametrize("plain", [True, False])
def test_on_a_terminal(plain, project):
    if not plain:
        pytest.importorskip("IPython")
    mine, theirs = pty.openpty()
    command = [sys.executable, "-m", "celeriac", "shell", "-A", "tasks", *(["--plain"] if plain else [])]
    kept = environment(TERM="dumb", HOME=str(project), PYTHONWARNINGS="default")
    process = subprocess.Popen(command, cwd=project, env=kept, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = until(mine, ">>> " if plain else "In [")
    assert "tasks: aadd, add, fail, hold, wait_for, where" in text
    os.write(mine, b"add(40, 2)\n")
    assert until(mine, "42")
    os.write(mine, b"exit()\n")
    until(mine, None)
    assert process.wait(20) == exits.OK
    os.close(mine)


def until(terminal, words):
    text, deadline = "", time.monotonic() + 20
    while words is None or words not in text:
        assert time.monotonic() < deadline, text
        try:
            data = os.read(terminal, 4096)
        except OSError:  # its other end is closed
            return text
        if not data:
            return text
        text += data.decode(errors="replace")
    return text


def test_a_name_that_two_tasks_have_is_nobody_s():
    app = App("shop")
    for name in ("a.add", "b.add", "a.app", "a.mail"):

        def fn(): ...

        fn.__name__ = name.partition(".")[2]
        app.task(name=name)(fn)
    names = names_of(app)
    assert names.keys() == {"app", "celeriac", "mail"}
    assert names["app"] is app
    assert _banner(names).endswith("tasks: mail, and 3 under app.tasks")


def test_a_prompt_prints_no_json(celeriac):
    assert celeriac("shell", "-A", "tasks", "--json").returncode == exits.USAGE


def test_without_an_app(celeriac):
    done = celeriac("shell")
    assert done.returncode == exits.MISCONFIGURED
    assert "-A module" in done.stderr
