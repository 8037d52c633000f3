"""`tasks`, `plugins` and `queues`."""

import io
import json

import pytest

from celeriac import App, Queue
from celeriac.cli import ask, exits, main


@pytest.fixture
def app():
    app = App("project", broker="memory://", queues=[Queue("mail")])
    yield app
    app.close()


@pytest.fixture
def filled(app):
    @app.task
    def add(x, y): ...

    for number in range(3):
        add.options(queue="mail").delay(number, y=1)
    return app


def declared(app):
    return {q["queue"]: q for q in json.loads(app)}


def test_tasks(celeriac):
    done = celeriac("tasks", "-A", "tasks")
    assert done.returncode == exits.OK, done.stderr
    assert "tasks.add(x: int, y: int = 1) -> int\n    Add two numbers.\n" in done.stdout
    assert "async tasks.aadd(x, y)\n" in done.stdout
    assert "tasks.wait_for(name)  acks_late=False  queue='mail'\n" in done.stdout


def test_tasks_as_json(celeriac):
    found = {task["name"]: task for task in json.loads(celeriac("tasks", "-A", "tasks", "--json").stdout)}
    assert found["tasks.aadd"]["async"]
    assert found["tasks.wait_for"] == {
        "name": "tasks.wait_for",
        "signature": "(name)",
        "async": False,
        "options": {"acks_late": False, "queue": "mail"},
        "doc": "Tell that it runs, then wait for a file.",
    }


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("import nothing_of_that_name", exits.FAILED, ["ModuleNotFoundError: No module named 'nothing_of"]),
        ("1/0", exits.FAILED, ["ZeroDivisionError", 'bad.py", line 1', "cannot import 'bad'"]),
        ("x = (", exits.FAILED, ["SyntaxError", "bad.py"]),
        ("raise SystemExit(0)", exits.FAILED, ["SystemExit"]),
        ("x = 1", exits.MISCONFIGURED, ["no celeriac App", "-A bad:name"]),
        ("from celeriac import App\na = App()\nb = App()", exits.MISCONFIGURED, ["several Apps", "-A bad:a"]),
        ("from celeriac import App\na = App(brokr='x')", exits.MISCONFIGURED, ["brokr", "did you mean 'broker'?"]),
    ],
)
def test_an_app_that_cannot_be_had(source, code, words, celeriac, project):
    (project / "bad.py").write_text(source)
    done = celeriac("tasks", "-A", "bad")
    assert done.returncode == code
    assert all(word in done.stderr for word in words), done.stderr
    assert "importlib" not in done.stderr
    assert "core/celeriac" not in done.stderr


def test_no_app_is_told(celeriac):
    done = celeriac("tasks")
    assert done.returncode == exits.MISCONFIGURED
    assert "-A module" in done.stderr
    assert celeriac("tasks", "-A", "tsks").returncode == exits.MISCONFIGURED
    assert "did you mean 'app'?" in celeriac("tasks", "-A", "tasks:ap").stderr


def test_plugins(app, capsys):
    assert main(["plugins", "--json"], app=app) == exits.OK
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out) if row["distribution"] == "celeriac"}
    assert rows["memory"]["brokers"] == rows["memory"]["result_stores"] == ["memory"]
    assert rows["sqlite"]["brokers"] == ["sqlite"]
    assert rows["amqp"]["brokers"] == ["amqp", "amqps"]
    assert rows["msgpack"]["serializers"] == ["application/x-msgpack"]
    assert all(row["error"] is None for row in rows.values())
    assert all(row["contracts"] == [1] for row in rows.values() if row["brokers"])
    assert rows["amqp"]["capabilities"]["amqps"]["lease"] is None
    assert rows["memory"]["capabilities"]["memory"] == {
        "priority_levels": 10,
        "max_delay": 365_000 * 86_400.0,
        "delay_resolution": 0.05,
        "lease": 30.0,
        "renew_every": 10.0,
        "exact_delivery_count": True,
        "fenced_settle": True,
        "atomic_move": True,
        "shared_prefetch": True,
        "cross_process": False,
        "revocations": True,
        "peek": True,
        "pause": True,
    }
    assert main(["plugins"], app=app) == exits.OK
    shown = capsys.readouterr().out
    assert "registered" not in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("amqps ")]
    assert line.split(None, 1)[1].startswith("priorities=10, max_delay=3106.")
    assert "lease" not in line


def test_a_plugin_of_the_app_and_one_without_its_driver(app, capsys):
    class Plugin:
        @staticmethod
        def celeriac_transports():
            return {"mine": Plugin.load}

        @staticmethod
        def load():
            raise ImportError("no driver", name="driver")

    from celeriac.hookspecs import hookimpl

    Plugin.celeriac_transports = staticmethod(hookimpl(Plugin.celeriac_transports))
    app.plugins.register(Plugin())
    assert main(["plugins"], app=app) == exits.FAILED
    (mine,) = [
        line for line in capsys.readouterr().out.splitlines() if line.split()[:3] == ["registered", "the", "App"]
    ]
    assert "mine" in mine
    assert "'driver'" in mine


def test_list_changes_nothing_and_tells_what_is_not_there(app, capsys):
    assert main(["queues", "list", "-Q", "other"], app=app) == exits.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["QUEUE", "READY", "RUNNING", "DELAYED", "OLDEST", "PAUSED", "DEAD"]
    assert [line.split("not there")[0].strip() for line in lines[1:]] == ["celeriac", "mail", "other"]
    main(["queues", "--json"], app=app)
    assert json.loads(capsys.readouterr().out) == [
        {"queue": "celeriac", "exists": False, "dead": 0},
        {"queue": "mail", "exists": False, "dead": 0},
    ]


def test_list_counts(filled, capsys):
    assert main(["queues"], app=filled) == exits.OK
    assert [line.split()[:4] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["celeriac", "0", "0", "0"],
        ["mail", "3", "0", "0"],
    ]
    main(["queues", "list", "mail", "--json"], app=filled)
    (mail,) = json.loads(capsys.readouterr().out)
    assert (mail["ready"], mail["paused"]) == (3, False)
    assert mail["oldest_age"] >= 0


def test_peek(filled, capsys):
    assert main(["queues", "peek", "mail", "--limit", "2"], app=filled) == exits.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["QUEUE", "ID", "TASK", "ARGS", "KWARGS"]
    assert len(lines) == 3
    assert lines[1].endswith("(0,)  {'y': 1}")
    main(["queues", "peek", "--json"], app=filled)
    assert [row["args"] for row in json.loads(capsys.readouterr().out)] == ["(0,)", "(1,)", "(2,)"]


def test_purge_asks(filled, capsys, monkeypatch):
    assert main(["queues", "purge", "mail"], app=filled) == exits.USAGE
    assert "-f" in capsys.readouterr().err

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(ask.sys, "stdin", Terminal("n\n"))
    assert main(["queues", "purge", "mail"], app=filled) == exits.FAILED
    assert "Drop 3 ready messages of mail? [y/N]" in capsys.readouterr().err
    monkeypatch.setattr(ask.sys, "stdin", Terminal("y\n"))
    assert main(["queues", "purge", "mail"], app=filled) == exits.OK
    assert capsys.readouterr().out == "mail: 3 messages dropped\n"
    assert main(["queues", "purge", "mail", "-f", "--json"], app=filled) == exits.OK
    assert json.loads(capsys.readouterr().out) == [{"queue": "mail", "purged": 0}]


def test_pause_and_resume(filled, capsys):
    def paused():
        main(["queues", "list", "mail", "--json"], app=filled)
        return json.loads(capsys.readouterr().out)[0]["paused"]

    assert main(["queues", "pause", "mail"], app=filled) == exits.OK
    assert capsys.readouterr().out == "mail: paused\n"
    assert paused() is True
    assert main(["queues", "resume", "-Q", "mail", "--json"], app=filled) == exits.OK
    assert json.loads(capsys.readouterr().out) == [{"queue": "mail", "paused": False}]
    assert paused() is False


@pytest.mark.parametrize("action", ["purge", "pause", "resume"])
def test_what_changes_queues_wants_their_names(action, app, capsys):
    assert main(["queues", action], app=app) == exits.USAGE
    assert "names" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["purge", "peek"])
def test_a_queue_that_is_not_there(action, app, capsys):
    assert main(["queues", action, "nowhere", "-f"], app=app) == exits.FAILED
    assert "nowhere" in capsys.readouterr().err


def test_a_broker_alone_will_do(celeriac, project):
    url = f"sqlite:///{project}/queue.db"
    assert celeriac("call", "-b", url, "any.task", "-a", "[1]").returncode == exits.OK
    done = celeriac("queues", "list", "-b", url, "--json")
    assert done.returncode == exits.OK, done.stderr
    assert json.loads(done.stdout)[0]["ready"] == 1
    by_environment = celeriac("queues", "peek", "--json", CELERIAC_BROKER=url)
    assert json.loads(by_environment.stdout)[0]["task"] == "any.task"
    assert celeriac("queues").returncode == exits.MISCONFIGURED
