"""`call` and `result`, in this process on a worker beside it."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum

import pytest

from celeriac import App, Queue
from celeriac.cli import exits, main

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Colour(Enum):
    RED = "red"


@dataclass
class Box:
    width: Decimal
    colour: Colour | None = None


@pytest.fixture
def app():
    app = App("project", broker="memory://", queues=[Queue("mail", priorities=10)])

    @app.task(name="add")
    def add(x, y=1):
        return x + y

    @app.task(name="fail")
    def fail():
        raise LookupError("nothing here")

    @app.task(name="grow")
    def grow(box: Box, by: Decimal = Decimal(1)) -> Box:
        return Box(box.width + by, Colour.RED)

    yield app
    app.close()


@pytest.fixture
def run(app, capsys):
    def run(*argv):
        code = main(argv, app=app)
        return code, *capsys.readouterr()

    return run


def peeked(run, queue):
    return json.loads(run("queues", "peek", queue, "--json")[1])


def test_it_prints_the_id(run):
    code, out, err = run("call", "add", "-a", "[4, 4]")
    assert (code, err) == (exits.OK, "")
    assert re.fullmatch(UUID + "\n", out)
    assert [(m["id"], m["args"]) for m in peeked(run, "celeriac")] == [(out.strip(), "[4, 4]")]
    code, out, _ = run("call", "add", "-k", '{"x": 1}', "--json")
    assert re.fullmatch(UUID, json.loads(out)["id"])


def test_it_waits_for_the_result(app, run):
    with app.run_worker(concurrency=1):
        code, out, _ = run("call", "add", "-a", "[4, 4]", "--wait", "10")
        assert code == exits.OK
        assert re.fullmatch(UUID + "\nSUCCESS: 8\n", out)
        code, out, _ = run("call", "add", "-a", "[4]", "--wait", "10", "--json")
        assert {**json.loads(out), "id": ""} == {"id": "", "state": "SUCCESS", "result": 5, "history": []}


def test_a_failure_is_an_exit_code(app, run):
    with app.run_worker(concurrency=1):
        code, out, err = run("call", "fail", "--wait", "10")
        assert code == exits.FAILED
        assert out.splitlines()[1] == "FAILURE: LookupError: nothing here"
        assert not err
        task_id = out.splitlines()[0]
        code, _, err = run("result", task_id, "--traceback")
        assert code == exits.FAILED
        assert 'raise LookupError("nothing here")' in err
        code, out, _ = run("result", task_id, "--traceback", "--json")
        shown = json.loads(out)
        assert shown["error"] == {"type": "LookupError", "message": "nothing here"}
        assert "raise LookupError" in shown["traceback"]


def test_no_result_in_time(run):
    code, out, err = run("call", "add", "-a", "[4, 4]", "--wait", "0.1")
    assert code == exits.NOT_YET
    assert "within 0.1 s" in err
    task_id = out.strip()
    code, out, _ = run("result", task_id)
    assert (code, out) == (exits.NOT_YET, "PENDING\n")
    code, out, err = run("result", task_id, "--wait", "0.1")
    assert (code, out) == (exits.NOT_YET, "")


def test_an_unknown_id(run):
    code, out, err = run("result", "no-such-id")
    assert (code, out) == (exits.FAILED, "")
    assert "no-such-id" in err
    assert err.count("\n") <= 3


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["ad"], exits.FAILED, "did you mean 'add'?"),
        (["add", "-a", "[1"], exits.USAGE, "no JSON"),
        (["add", "-a", "1"], exits.USAGE, "a list"),
        (["add", "-k", "[1]"], exits.USAGE, "an object"),
        (["add", "-a", "[1, 2, 3]"], exits.USAGE, "too many positional arguments"),
        (["add", "-k", '{"x": 1, "yy": 2}'], exits.USAGE, "did you mean 'y'?"),
        (["add", "-a", "[1]", "--priority", "5"], exits.FAILED, "priorities=10"),
        (["add", "-a", "[1]", "--priority", "11", "--queue", "mail"], exits.MISCONFIGURED, "0 to 9"),
        (["add", "-a", "[1]", "--eta", "soon"], exits.USAGE, "--eta"),
        (["add", "-a", "[1]", "--expires", "soon"], exits.USAGE, "--expires"),
        (["add", "-a", "[1]", "--countdown", "-1"], exits.MISCONFIGURED, "negative"),
        (["add", "-a", "[1]", "--countdown", "1", "--eta", "2030-01-01"], exits.MISCONFIGURED, "not both"),
        (["add", "-a", "[1]", "--exchange", "nowhere", "--routing-key", "k"], exits.FAILED, "nowhere"),
        (["add", "-a", "[1]", "--queue", "mail", "--exchange", "x"], exits.MISCONFIGURED, "not both"),
    ],
)
def test_what_cannot_be_sent_is_told(argv, code, words, run):
    got, out, err = run("call", *argv)
    assert (got, out) == (code, "")
    assert words in err
    assert err.count("\n") <= 3
    assert all(row["ready"] == 0 for row in json.loads(run("queues", "--json")[1]) if row["exists"])


def test_options_reach_the_message(app, run):
    run("call", "add", "-a", "[1]", "--queue", "mail", "--priority", "3")
    run("call", "add", "-a", "[2]", "--exchange", "mail", "--routing-key", "mail", "--priority", "7")
    assert [m["args"] for m in peeked(run, "mail")] == ["[2]", "[1]"]
    run("call", "add", "-a", "[3]", "--countdown", "60")
    run("call", "add", "-a", "[4]", "--eta", (datetime.now(UTC) + timedelta(minutes=1)).isoformat())
    (row,) = (row for row in json.loads(run("queues", "--json")[1]) if row["queue"] == "celeriac")
    assert (row["ready"], row["delayed"]) == (0, 2)


@pytest.mark.parametrize("when", ["0", "2001-01-01"])
def test_an_expired_task_is_revoked(when, app, run):
    _, out, _ = run("call", "add", "-a", "[1]", "--expires", when)
    with app.run_worker(concurrency=1):
        code, shown, _ = run("result", out.strip(), "--wait", "10")
    assert code == exits.FAILED
    assert shown.startswith("REVOKED: TaskRevoked: ")


def test_with_a_broker_alone_any_name_is_sent(celeriac, project, worker):
    url = f"sqlite:///{project}/queue.db"
    worker("-c", "1")
    done = celeriac("call", "-b", url, "tasks.add", "-a", "[20, 22]", "--wait", "10")
    assert done.returncode == exits.OK, done.stderr
    task_id, shown = done.stdout.splitlines()
    assert shown == "SUCCESS: 42"
    assert celeriac("result", task_id, "-b", url).stdout == "SUCCESS: 42\n"
    assert json.loads(celeriac("result", task_id, "--json", CELERIAC_BROKER=url).stdout)["result"] == 42
    assert celeriac("-A", "tasks", "result", task_id).stdout == "SUCCESS: 42\n"


def test_json_is_read_as_what_the_task_s_annotations_say_and_shown_as_json(app, run):
    with app.run_worker():
        code, out, _ = run("call", "grow", "-a", '[{"width": "1.5"}]', "--wait", "20", "--json")
        assert (code, json.loads(out)["result"]) == (exits.OK, {"width": "2.5", "colour": "red"})
        code, out, _ = run("call", "grow", "-a", '[{"width": "1.5"}, "2"]', "--wait", "20")
        assert "SUCCESS: Box(width=Decimal('3.5')" in out
    code, _, err = run("call", "grow", "-a", '[{"width": 1}]')
    assert code == exits.USAGE
    assert "grow: box.width: expected Decimal, not int" in err
