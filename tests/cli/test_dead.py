"""`dead` and `cancel`: inside this process on the memory broker, and as commands beside real workers on SQLite."""

from __future__ import annotations

import json
import signal
import time
import uuid

import pytest

from celeriac import App, Queue
from celeriac.cli import exits, main
from celeriac.message import Dead, DeadLetter, Settlement

HEAD = ["ID", "TASK", "QUEUE", "REASON", "ATTEMPTS", "WORKER", "WHEN"]


@pytest.fixture
def make_app():
    name = uuid.uuid4().hex
    return lambda: App("shop", broker=f"memory://{name}", queues=[Queue("mail", priorities=10), Queue("empty")])


@pytest.fixture
def app(make_app):
    app = make_app()
    yield app
    app.close()


@pytest.fixture
def bury(app):
    def die(*tasks, queue="mail"):
        ids = [app.send_task(task, [4], {"to": "a"}, queue=queue, headers={"trace": "t1"}).id for task in tasks]

        async def kill():
            await app.client.connection.ready()
            async with app.client.connection.transport.consume([queue], prefetch=100) as consumer:
                why = Dead(DeadLetter(reason="crashed", detail="signal 9", attempts=3, worker="w@there"))
                found = await consumer.receive(100, 5)
                await consumer.settle([Settlement(each.token, why) for each in found])

        app.client.portal.run(kill())
        return ids

    return die


@pytest.fixture
def run(make_app, capsys):
    """Run a command for the app; returns its exit code, its output and what it said on standard error."""

    def run(*argv):
        code = main(argv, app=make_app())
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def dead(run):
    """Return the ids of the dead letters that are there."""
    return lambda: [row["id"] for row in json.loads(run("dead", "list", "--json")[1])]


def test_list(run, bury):
    assert run("dead") == (exits.OK, "no dead letters\n", "")
    one, two = bury("shop.charge", "shop.mail")
    code, out, _ = run("dead", "list")
    head, *rows = [line.split() for line in out.splitlines()]
    assert (code, head) == (exits.OK, HEAD)
    assert [row[:6] for row in rows] == [
        [one, "shop.charge", "mail", "crashed", "3", "w@there"],
        [two, "shop.mail", "mail", "crashed", "3", "w@there"],
    ]
    listed = json.loads(run("dead", "list", "--task", "shop.mail", "--json")[1])
    assert [row["id"] for row in listed] == [two]
    assert listed[0].keys() == {"id", "task", "queue", "reason", "attempts", "worker", "at"}
    assert len(json.loads(run("dead", "list", "--limit", "1", "--json")[1])) == 1
    assert json.loads(run("dead", "list", "--queue", "empty,celeriac", "--json")[1]) == []
    assert len(json.loads(run("dead", "list", "-Q", "mail.dead", "--json")[1])) == 2


def test_show(run, bury):
    (one,) = bury("shop.charge")
    code, out, _ = run("dead", "show", one)
    assert code == exits.OK
    for line in (
        f"id: {one}",
        "task: shop.charge",
        "detail: signal 9",
        "args: [4]",
        "kwargs: {'to': 'a'}",
        "origin: mail",
        "  trace: t1",
    ):
        assert line in out.splitlines(), out
    told = json.loads(run("dead", "show", one, "--json")[1])
    assert (told["headers"]["trace"], told["history"], told["worker"]) == ("t1", [], "w@there")
    assert "celeriac" not in told["headers"]


def test_replay(run, bury, dead):
    one, two, three = bury("shop.charge", "shop.mail", "shop.charge")
    assert run("dead", "replay", two) == (exits.OK, f"{two}: back in mail\n", "")
    assert json.loads(run("dead", "replay", "--task", "shop.charge", "--limit", "1", "--json")[1]) == [
        {"id": one, "task": "shop.charge", "queue": "mail"}
    ]
    assert dead() == [three]
    assert run("dead", "replay", "--all")[0] == exits.OK
    assert run("dead", "replay", "--all") == (exits.OK, "no such dead letters\n", "")
    waiting = json.loads(run("queues", "peek", "mail", "--json")[1])
    assert [row["id"] for row in waiting] == [two, one, three]


def test_a_replayed_letter_that_dies_again_has_a_history_to_show(run, bury):
    (one,) = bury("shop.charge")
    run("dead", "replay", one)
    bury()
    assert "why=replayed  error=crashed: signal 9" in run("dead", "show", one)[1]


def test_purge(run, bury, dead):
    one, two, three = bury("shop.charge", "shop.mail", "shop.charge")
    code, _, err = run("dead", "purge", one)
    assert code == exits.USAGE
    assert "-f" in err
    assert dead() == [one, two, three]
    assert run("dead", "purge", one, "-f") == (exits.OK, "1 dead letters dropped\n", "")
    assert json.loads(run("dead", "purge", "--task", "shop.mail", "-f", "--json")[1]) == {"purged": 1}
    assert run("dead", "purge", "--all", "-f")[1] == "1 dead letters dropped\n"
    assert dead() == []


def test_queues_counts_them(run, bury):
    bury("shop.charge", "shop.mail")
    (mail,) = json.loads(run("queues", "list", "mail", "--json")[1])
    assert mail["dead"] == 2
    assert [line.split()[-1] for line in run("queues")[1].splitlines()] == ["DEAD", "0", "2", "0"]


@pytest.mark.parametrize("argv", [("show", "nothing"), ("replay", "nothing"), ("purge", "nothing", "-f")])
def test_an_id_that_is_not_there(argv, run, bury, dead):
    ids = bury("shop.charge", "shop.mail")
    code, out, err = run("dead", *argv)
    assert (code, out) == (exits.FAILED, "")
    assert "no dead letter nothing" in err
    assert err.count("\n") <= 2
    assert dead() == ids
    if argv[0] != "show":
        assert run("dead", argv[0], ids[0], *argv[1:])[0] == exits.FAILED
        assert dead() == ids


@pytest.mark.parametrize(
    "argv",
    [
        ("replay",),
        ("purge", "-f"),
        ("show",),
        ("show", "a", "b"),
        ("list", "a"),
        ("list", "--all"),
        ("replay", "a", "--all"),
        ("replay", "--task", "t", "--all"),
        ("replay", "a", "--limit", "3"),
        ("replay", "--all", "--limit", "0"),
        ("list", "--limit", "many"),
        ("bury",),
    ],
)
def test_a_command_line_that_cannot_be_meant(argv, run):
    code, _, err = run("dead", *argv)
    assert code == exits.USAGE
    assert err.endswith("See celeriac dead --help\n")


def test_beside_real_workers(celeriac, project, worker):
    """A task that nobody knows dies after its deadline; replayed to a worker that knows it, it runs."""
    url = f"sqlite:///{project}/queue.db"
    (project / "later.py").write_text((project / "tasks.py").read_text() + "\n@app.task(name='new')\ndef new(): ...\n")
    sent = celeriac("call", "-b", url, "new").stdout.strip()
    old = worker("-c", "1", CELERIAC_UNKNOWN_TASK_DEADLINE="0", CELERIAC_UNKNOWN_TASK_DELAY="0")
    deadline = time.monotonic() + 20
    while not (found := json.loads(celeriac("dead", "list", "-b", url, "--json").stdout)):
        assert time.monotonic() < deadline
    assert [(row["id"], row["reason"]) for row in found] == [(sent, "unknown")]
    assert celeriac("result", "-b", url, sent).stdout.startswith("FAILURE")
    old.signal(signal.SIGTERM)
    assert old.wait() == exits.OK
    worker("-c", "1", program=("-m", "celeriac", "worker", "-A", "later"))
    back = celeriac("dead", "replay", "-b", url, sent)
    assert back.stdout == f"{sent}: back in celeriac\n", back.stderr
    assert celeriac("result", "-b", url, sent, "--wait", "20").stdout == "SUCCESS: None\n"
    assert json.loads(celeriac("dead", "list", "-b", url, "--json").stdout) == []


def test_cancel(celeriac, project, worker):
    """Durable: cancelled while no worker is there, it never runs, and its state tells."""
    ids = [celeriac("call", "-A", "tasks", "tasks.add", "-a", "[1]").stdout.strip() for _ in range(2)]
    done = celeriac("cancel", "-A", "tasks", ids[0])
    assert (done.returncode, done.stdout) == (exits.OK, f"{ids[0]}: cancelled\n"), done.stderr
    worker("-c", "1")
    assert celeriac("result", "-A", "tasks", ids[1], "--wait", "20").returncode == exits.OK
    assert celeriac("result", "-A", "tasks", ids[0], "--wait", "20").stdout.startswith("REVOKED")


def test_cancelling_what_runs(celeriac, project, worker, until_there):
    worker("-c", "1")
    sent = celeriac("call", "-A", "tasks", "tasks.hold").stdout.strip()
    until_there(project / "running")
    told = celeriac("cancel", "-A", "tasks", sent, "--terminate", "--json")
    assert json.loads(told.stdout) == [{"id": sent, "terminate": True}]
    assert celeriac("result", "-A", "tasks", sent, "--wait", "10").stdout.startswith("REVOKED")


def test_cancel_wants_ids(run):
    assert run("cancel")[0] == exits.USAGE


def test_those_of_a_task_are_found_behind_many_others(run, bury, monkeypatch):
    monkeypatch.setattr("celeriac.cli.dead.LOOKED_AT", 3)
    *_, wanted = bury(*["shop.charge"] * 5, "shop.mail")
    code, out, err = run("dead", "list", "--task", "shop.mail")
    assert (code, err) == (exits.OK, "")
    assert wanted in out
    code, out, err = run("dead", "list")
    assert (out.count("shop.charge"), "no more than 3 of each queue" in err) == (3, True)
    assert "give 1 or more" in run("dead", "list", "--limit", "0")[2]
