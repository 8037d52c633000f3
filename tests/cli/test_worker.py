"""Real `celeriac worker` processes, on SQLite."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from tests.cli.conftest import environment

from celeriac import App
from celeriac.cli import exits, main
from celeriac.cli.worker import node_name
from celeriac.errors import ConfigurationError

HOST = socket.gethostname()
PROGRAM = """
from pathlib import Path
from celeriac import App
app = App(broker=f"sqlite:///{Path(__file__).parent}/queue.db")

@app.task
def add(x, y):
    return x + y

app.worker_main(["-c", "1", "-l", "INFO"])
"""


def call(celeriac, name, *args, wait="15", app="tasks"):
    done = celeriac("call", "-A", app, name, "-a", json.dumps(args), "--wait", wait, "--json", "--traceback")
    return json.loads(done.stdout) if done.stdout else done.stderr


def test_children_import_what_the_worker_imported(celeriac, project, worker):
    """A module that takes its App from another, and adds tasks: what the worker lists, its children run."""
    (project / "site_app.py").write_text("from tasks import app\n\n\n@app.task\ndef ping():\n    return 'pong'\n")
    worker("-l", "info", "-c", "1", program=("-m", "celeriac", "worker", "-A", "site_app"))
    assert call(celeriac, "site_app.ping", app="site_app")["result"] == "pong"
    assert call(celeriac, "tasks.add", 1, 2)["result"] == 3


def sent(celeriac, name, *args):
    return celeriac("call", "-A", "tasks", name, "-a", json.dumps(args)).stdout.strip()


def state(celeriac, task_id):
    return json.loads(celeriac("result", "-A", "tasks", task_id, "--json").stdout)["state"]


def ready(celeriac, queue):
    (row,) = json.loads(celeriac("queues", "list", queue, "-A", "tasks", "--json").stdout)
    return row["ready"]


def test_the_banner_and_a_line_a_task(celeriac, project, worker):
    running = worker("-l", "info", "-c", "2", "-n", "w1@%h", "-Q", "celeriac, mail")
    add = call(celeriac, "tasks.add", 4, 4)
    failed = call(celeriac, "tasks.fail", "boom")
    assert (add["result"], failed["error"]["message"]) == (8, "boom")
    celeriac("call", "-b", f"sqlite:///{project}/queue.db", "no.such.task")
    running.until("refused, not known here")
    running.signal(signal.SIGTERM)
    assert running.wait() == exits.OK
    banner, _, log = running.text.partition("ready.\n")
    assert re.match(rf"w1@{HOST} v\d+\.\d+\.\d+\n\S+ \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\n\n\[config\]\n", banner)
    for line in (
        r"\.> app:         tasks:0x[0-9a-f]+",
        rf"\.> transport:   sqlite:///{project}/queue\.db",
        rf"\.> results:     sqlite:///{project}/queue\.db",
        r"\.> concurrency: 2 \(process\)",
        r"\.> celeriac +exchange=celeriac\(direct\) key=celeriac",
        r"\.> mail +exchange=mail\(direct\) key=mail",
        r"  \. tasks\.add",
    ):
        assert re.search(f"^{line}$", banner, re.MULTILINE), line
    task = f"Task tasks.add[{add['id']}]"
    assert f"{task} received\n" in log
    assert re.search(re.escape(task) + r" succeeded in [\d.e-]+s: 8\n", log)
    assert f"tasks.add[{add['id']}]: adding 4 and 4" in log  # the task's own log, from its process
    assert re.search(rf"ERROR/\d+\] Task tasks\.fail\[{failed['id']}\] failed in \S+s: boom\nTraceback", log)
    assert "ValueError: boom" in log
    assert re.search(r"WARNING/\d+\] Task no\.such\.task\[.*\] refused, not known here: ", log)


def test_by_default_only_what_went_wrong_is_logged(celeriac, worker):
    running = worker("-c", "1")
    assert call(celeriac, "tasks.add", 1)["result"] == 2
    call(celeriac, "tasks.fail", "boom")
    running.until("ValueError: boom")
    assert "[tasks]" not in running.text
    assert "tasks.add[" not in running.text
    assert "received" not in running.text


def test_everything_as_json(celeriac, worker):
    running = worker("-c", "1", "-l", "INFO", "--json")
    added = call(celeriac, "tasks.add", 1)
    running.signal(signal.SIGTERM)
    assert running.wait() == exits.OK
    said = [json.loads(line) for line in running.text.splitlines()]
    assert said[0]["pool"] == "process"
    assert said[0]["queues"] == [{"name": "celeriac", "exchange": "celeriac(direct)", "key": "celeriac"}]
    assert said[1]["ready"] is True
    events = [line for line in said if line.get("task_id") == added["id"]]
    assert [line.get("event", line["message"]) for line in events] == ["received", "adding 1 and 1", "finished"]
    assert events[2]["shown"] == "2"
    assert {"time", "level", "process", "logger", "message"} <= events[0].keys()


@pytest.mark.parametrize("pool", ["process", "thread", "solo"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_runs_finish(pool, number, celeriac, project, worker, until_there):
    running = worker("-P", pool, "-c", "1", "-Q", "mail", "-l", "INFO")
    task_id = sent(celeriac, "tasks.wait_for", "go")
    until_there(project / "running")
    running.signal(number)
    running.until("stopping\n")
    assert running.process.poll() is None
    (project / "go").touch()
    assert running.wait() == exits.OK
    assert "Traceback" not in running.text
    assert state(celeriac, task_id) == "SUCCESS"


@pytest.mark.parametrize("pool", ["process", "thread", "solo"])
def test_a_second_signal_leaves_at_once_and_loses_nothing(pool, celeriac, project, worker, until_there):
    running = worker("-P", pool, "-c", "1", "-l", "INFO")
    task_id = sent(celeriac, "tasks.hold")
    until_there(project / "running")
    running.signal(signal.SIGTERM)
    running.until("stopping\n")
    begun = time.monotonic()
    running.signal(signal.SIGTERM)
    assert running.wait() == exits.OK
    assert time.monotonic() - begun < 8
    assert "stopping at once" in running.text
    assert "Traceback" not in running.text
    assert state(celeriac, task_id) == "PENDING"
    assert ready(celeriac, "celeriac") == 1


def test_the_grace_ends_what_does_not(celeriac, project, worker, until_there):
    running = worker("-P", "solo", "--grace", "0.2")
    sent(celeriac, "tasks.hold")
    until_there(project / "running")
    running.signal(signal.SIGTERM)
    assert running.wait() == exits.OK
    assert ready(celeriac, "celeriac") == 1


@pytest.mark.parametrize(("pool", "main_thread"), [("process", True), ("thread", False), ("solo", True)])
def test_where_tasks_run(pool, main_thread, celeriac, worker):
    running = worker("-P", pool, "-c", "1")
    on_main, pid = call(celeriac, "tasks.where")["result"]
    assert on_main is main_thread
    assert (pid == running.process.pid) is (pool != "process")
    assert call(celeriac, "tasks.aadd", 2, 3)["result"] == 5


def test_a_worker_of_one_task_a_child(celeriac, worker):
    worker("-c", "1", "--max-tasks-per-child", "1")
    assert len({call(celeriac, "tasks.where")["result"][1] for _ in range(3)}) == 3


def test_a_program_is_its_own_worker(celeriac, project, worker):
    (project / "program.py").write_text(PROGRAM)
    running = worker(program=("program.py",))
    done = celeriac("call", "-A", "program", "program.add", "-a", "[1, 2]", "--wait", "15")
    assert done.returncode == exits.OK, done.stderr + running.text
    assert done.stdout.endswith("SUCCESS: 3\n")


def test_a_module_may_be_its_own_client(project, worker):
    """Where it is run as a program its tasks are called ``__main__.add``; its worker knows them all the same."""
    source = (project / "tasks.py").read_text()
    (project / "both.py").write_text(
        f"{source}\nif __name__ == '__main__':\n    print(add.delay(2, 3).get(timeout=15))\n"
    )
    worker("-c", "1", program=("-m", "celeriac", "worker", "-A", "both"))
    done = subprocess.run(
        [sys.executable, "both.py"], cwd=project, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout == "5\n", done.stderr


def test_a_killed_worker_leaves_no_child(celeriac, worker):
    running = worker("-c", "1")
    _, child = call(celeriac, "tasks.where")["result"]
    running.signal(signal.SIGKILL)
    running.process.wait()
    deadline = time.monotonic() + 5
    while _alive(child):
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.02)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


LIFESPAN = """
import asyncio, os
from pathlib import Path
from celeriac import App
app = App(broker=f"sqlite:///{Path(__file__).parent}/queue.db")

@app.lifespan
async def lifespan():
    entering = Path(__file__).parent / "entering"
    entering.write_text(str(os.getpid()))
    entering.rename(entering.with_name("entered"))
    {here}
    yield
"""


@pytest.mark.parametrize("pool", ["process", "thread", "solo"])
def test_a_lifespan_that_fails_ends_the_worker(pool, celeriac, project):
    (project / "bad.py").write_text(LIFESPAN.replace("{here}", 'raise RuntimeError("no database")'))
    done = celeriac("worker", "-A", "bad", "-P", pool)
    assert done.returncode == exits.FAILED
    assert "RuntimeError: no database" in done.stderr


@pytest.mark.parametrize("pool", ["process", "thread", "solo"])
def test_a_signal_while_it_starts_ends_it(pool, project, worker, until_there):
    (project / "slow.py").write_text(LIFESPAN.replace("{here}", "await asyncio.sleep(30)"))
    running = worker("-P", pool, "-c", "1", program=("-m", "celeriac", "worker", "-A", "slow"), ready="[queues]")
    until_there(project / "entered")
    running.signal(signal.SIGTERM)
    assert running.wait(10) == exits.OK
    assert "ready." not in running.text
    assert "Traceback" not in running.text
    assert pool != "process" or not _alive(int((project / "entered").read_text()))


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        ([], exits.MISCONFIGURED, "-A module"),
        (["-A", "nowhere"], exits.MISCONFIGURED, "no module 'nowhere'"),
        (["-A", "tasks", "-b", "nonsense"], exits.MISCONFIGURED, "no broker URL"),
        (["-A", "tasks", "-b", "foo://x"], exits.MISCONFIGURED, "foo://"),
        (["-A", "tasks", "-b", "sqlite:////nowhere/at/all.db"], exits.UNAVAILABLE, "/nowhere/at"),
        (["-A", "tasks", "-b", "sqlite:///x.db?laese=3"], exits.MISCONFIGURED, "did you mean 'lease'?"),
        (["-A", "tasks", "-b", "amqp://guest:hush@127.0.0.1:1//"], exits.UNAVAILABLE, "127.0.0.1:1"),
        (["-A", "tasks", "-b", "amqp://guest:hush@127.0.0.1:x//"], exits.MISCONFIGURED, "127.0.0.1:x"),
        (["-A", "tasks", "--result-backend", "foo://x"], exits.MISCONFIGURED, "foo://"),
        (["-A", "tasks", "-b", "memory://x"], exits.MISCONFIGURED, "app.run_worker"),
        (["-A", "tasks", "-b", "memory://x", "-P", "thread"], exits.MISCONFIGURED, "app.run_worker"),
        (["-A", "tasks", "-P", "prefork"], exits.MISCONFIGURED, "process, thread, solo"),
        (["-A", "tasks", "-c", "0"], exits.MISCONFIGURED, "concurrency"),
        (["-A", "tasks", "-P", "solo", "-c", "2"], exits.MISCONFIGURED, "one task at a time"),
        (["-A", "tasks", "-P", "thread", "--threads", "2"], exits.MISCONFIGURED, "threads"),
        (["-A", "tasks", "--grace", "soon"], exits.MISCONFIGURED, "grace"),
        (["-A", "tasks", "-n", "%x"], exits.MISCONFIGURED, "%h"),
        (["-A", "tasks", "-l", "loud"], exits.USAGE, "INFO"),
    ],
)
def test_a_bad_beginning_is_told_at_once(argv, code, words, celeriac):
    begun = time.monotonic()
    done = celeriac("worker", *argv)
    assert time.monotonic() - begun < 5
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "hush" not in done.stdout + done.stderr
    assert 1 <= done.stderr.count("\n") <= 3, done.stderr


@pytest.mark.parametrize("argv", [(), ("-Q", "mail")])
def test_a_queue_declared_otherwise(argv, celeriac, project):
    source = (project / "tasks.py").read_text()
    assert celeriac("call", "-A", "tasks", "tasks.wait_for", "-a", '["x"]').returncode == exits.OK
    (project / "other.py").write_text(
        source.replace("App(", "App(queues=[Queue('mail', priorities=5)], ").replace("import App", "import App, Queue")
    )
    done = celeriac("worker", "-A", "other", *argv)
    assert done.returncode == exits.MISCONFIGURED
    assert "'mail'" in done.stderr
    assert "priorities" in done.stderr
    assert done.stderr.count("\n") <= 3


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, None),
        ("w1@%h", f"w1@{HOST}"),
        ("w1", "celeriac@w1"),
        ("w1@%n", f"w1@{HOST.partition('.')[0]}"),
        ("%n", f"celeriac@{HOST.partition('.')[0]}"),
        ("w@%d", f"w@{HOST.partition('.')[2]}"),
        ("100%%@%h", f"100%@{HOST}"),
        ("a%%h@b", "a%h@b"),
    ],
)
def test_node_names(given, name):
    assert node_name(given) == name


@pytest.mark.parametrize("given", ["%", "w@%x", "w@%"])
def test_a_letter_that_means_nothing(given):
    with pytest.raises(ConfigurationError, match="%h"):
        node_name(given)


def test_an_app_without_a_file_needs_another_pool(capsys, tmp_path):
    app = App(broker=f"sqlite:///{tmp_path}/q.db")
    app._defined = {"__name__": "__main__"}  # as at a prompt
    assert main(["worker"], app=app) == exits.MISCONFIGURED
    assert "--pool thread" in capsys.readouterr().err
