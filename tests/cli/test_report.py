"""`celeriac report`: it tells all, hides secrets, and does not fail where something else has."""

import json

from celeriac import __version__
from celeriac.cli import exits


def report(celeriac, *argv, **env):
    done = celeriac("report", "--json", *argv, **env)
    assert done.returncode == exits.OK, done.stderr
    return json.loads(done.stdout)


def test_a_program_that_is_well(celeriac, project):
    told = report(celeriac, "-A", "tasks", CELERIAC_GRACE="5")
    assert told["versions"]["celeriac"] == __version__
    assert {"python", "pluggy", "pika"} <= told["versions"].keys()
    assert "hypothesis" not in told["versions"]
    assert told["app"]["tasks"] == 6
    assert told["settings"]["grace"] == "5.0, environment CELERIAC_GRACE"
    assert "threads" not in told["settings"]
    assert told["plugins"]["sqlite"] == f"celeriac {__version__}, ok"
    assert told["broker"]["reachable"] is True
    assert told["broker"]["broker"] == f"sqlite:///{project}/queue.db"
    text = celeriac("report", "-A", "tasks").stdout
    assert all(f"{title}:\n" in text for title in told)
    assert "  reachable: True\n" in text


def test_no_secret_and_a_broker_that_does_not_answer(celeriac):
    told = report(celeriac, "-b", "amqp://me:hush@127.0.0.1:1//")
    assert told["broker"]["reachable"] is False
    assert "ConnectionLost" in told["broker"]["error"]
    assert "hush" not in json.dumps(told)
    assert told["settings"]["broker"].startswith("('amqp://me:**@127.0.0.1:1//',)")


def test_what_is_broken_is_told(celeriac, project):
    assert "no module" in report(celeriac, "-A", "nowhere")["app"]["error"]
    (project / "broken.py").write_text("1/0")
    assert "cannot import 'broken'" in report(celeriac, "-A", "broken")["app"]["error"]
    assert "nosuch://" in report(celeriac, "-b", "nosuch://me:hush@x")["broker"]["error"]
    (project / "pyproject.toml").write_text("[tool.celeriac")
    told = report(celeriac, "-A", "tasks")
    assert "is no TOML" in told["settings"]["error"]
    assert told["plugins"]["sqlite"].endswith("ok")
