"""`celeriac config show`, and what becomes of commands whose settings cannot be read."""

import json
from dataclasses import fields

import pytest

from celeriac.cli import exits
from celeriac.settings import Settings


def settings(done):
    assert done.returncode == exits.OK, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_every_setting_with_its_origin(celeriac, project):
    (project / "pyproject.toml").write_text("[tool.celeriac]\ngrace = 5\nthreads = 3\n")
    shown = settings(celeriac("config", "show", "-A", "tasks", "--json", CELERIAC_THREADS="2"))
    assert list(shown) == [each.name for each in fields(Settings)]
    assert shown["broker"] == {
        "name": "broker",
        "value": [f"sqlite:///{project}/queue.db"],
        "origin": "argument of App",
    }
    assert (shown["grace"]["value"], shown["threads"]["value"]) == (5.0, 2)
    assert shown["grace"]["origin"] == f"[tool.celeriac] in {project}/pyproject.toml"
    assert shown["threads"]["origin"] == "environment CELERIAC_THREADS"
    assert shown["pool"]["origin"] == "default"


def test_as_a_table_and_without_an_app(celeriac, project):
    (project / "pyproject.toml").write_text("[tool.celeriac]\nbroker = 'amqp://me:hush@host/'\nacks_late = false\n")
    plain = celeriac("config").stdout
    assert plain.splitlines()[0].split() == ["SETTING", "VALUE"]
    assert "amqp://me:**@host/\n" in plain
    assert "hush" not in plain
    with_origin = celeriac("config", "show", "--origin", "-b", "amqp://me:hush@other/").stdout.splitlines()
    assert with_origin[1].split(maxsplit=2) == ["broker", "amqp://me:**@other/", "argument of App"]
    rows = {line.split(maxsplit=2)[0]: line.split(maxsplit=2)[1] for line in with_origin}
    assert (rows["acks_late"], rows["time_limit"], rows["revoke_expires"]) == ("false", "-", "2592000")


def test_the_project_s_broker_serves_commands_without_an_app(celeriac, project):
    (project / "pyproject.toml").write_text(f"[tool.celeriac]\nbroker = 'sqlite:///{project}/queue.db'\n")
    sent = celeriac("call", "tasks.add", "-a", "[1]")
    assert sent.returncode == exits.OK, sent.stderr
    assert json.loads(celeriac("queues", "list", "--json").stdout)[0]["ready"] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.celeriac", "is no TOML"),
        ("[tool.celeriac]\ngrase = 1", "did you mean 'grace'?"),
        ("[tool.celeriac]\nbroker = 7", "use a URL"),
    ],
)
def test_a_worker_whose_settings_cannot_be_read_does_not_start_and_nothing_is_lost(text, words, celeriac, project):
    task_id = celeriac("call", "-A", "tasks", "tasks.add", "-a", "[1]").stdout.strip()
    (project / "tasks.py").write_text(
        (project / "tasks.py").read_text().replace(f"broker='sqlite:///{project}/queue.db'", "")
    )
    (project / "celeriac.db").symlink_to("queue.db")
    (project / "pyproject.toml").write_text(text)
    for command in (("worker",), ("call", "tasks.add"), ("config", "show"), ("queues", "list")):
        done = celeriac(*command, "-A", "tasks")
        assert done.returncode == exits.MISCONFIGURED, done.stdout + done.stderr
        assert words in done.stderr
        assert "pyproject.toml" in done.stderr
        assert done.stderr.count("\n") <= 3
    (project / "pyproject.toml").unlink()
    assert celeriac("worker", "-A", "tasks", "--burst", "-c", "1").returncode == exits.OK
    assert celeriac("result", "-A", "tasks", task_id).stdout == "SUCCESS: 2\n"
