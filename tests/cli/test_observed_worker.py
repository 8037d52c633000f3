"""Plugins and middleware in real worker processes: JSON logs, hooks that raise, what runs where."""

import json
import signal

import pytest

from celeriac.cli import exits

JSON_LOGS = """
from celeriac_logging import JsonLogging
app.plugins.register(JsonLogging())


@app.task(bind=True, max_retries=1, queue="mail")
def again(self):
    logger.warning("attempt of mine", extra={"customer": 7})
    if self.request.attempt == 1:
        self.retry(countdown=0)
    return os.getpid()
"""

OBSERVED = """
from celeriac.hookspecs import hookimpl
from celeriac.middleware import Middleware

note = lambda text: (here / "notes").open("a").write(text + f" {os.getpid()}\\n")


class Raises:
    @hookimpl
    def celeriac_setup_logging(self): raise RuntimeError("hook 1")
    @hookimpl
    def celeriac_worker_started(self): raise RuntimeError("hook 2")
    @hookimpl
    def celeriac_executor_started(self): raise RuntimeError("hook 3")
    @hookimpl
    def celeriac_task_finished(self): raise RuntimeError("hook 4")
    @hookimpl
    def celeriac_worker_stopped(self): raise RuntimeError("hook 5")
    @hookimpl
    def celeriac_executor_stopped(self, app):
        note("executor stopped")


class Around(Middleware):
    def run(self, call, call_next):
        note(f"run {call.task.name}")
        return call_next(call)

    async def arun(self, call, call_next):
        note(f"arun {call.task.name}")
        return await call_next(call)

    def publish(self, messages, call_next):
        note("publish")
        call_next(messages)

    async def apublish(self, messages, call_next): ...


app._middleware = (Around(),)
app.plugins.register(Raises())


@app.task
def chain():
    add.delay(1, 1)
    return os.getpid()
"""


STRANGER = """
import os
from pathlib import Path
from celeriac.hookspecs import hookimpl

here = Path(__file__).parent
(here / f"imported-{os.getpid()}").touch()


@hookimpl
def celeriac_executor_started():
    (here / "started").write_text(str(os.getpid()))
"""


def extend(project, text):
    tasks = project / "tasks.py"
    tasks.write_text(tasks.read_text() + text)


def call(celeriac, name):
    done = celeriac("call", "-A", "tasks", name, "--wait", "15", "--json")
    return json.loads(done.stdout)


@pytest.mark.parametrize("pool", ["process", "thread"])
def test_json_logs_tell_task_attempt_and_queue(pool, celeriac, project, worker):
    extend(project, JSON_LOGS)
    running = worker("-c", "1", "-l", "INFO", "-Q", "celeriac,mail", "-P", pool)
    done = call(celeriac, "tasks.again")
    running.signal(signal.SIGTERM)
    assert running.wait() == exits.OK
    lines = [json.loads(line) for line in running.text.splitlines() if line.startswith("{")]
    mine = [line for line in lines if line.get("task_id") == done["id"]]
    assert all((line["task"], line["queue"]) == ("tasks.again", "mail") for line in mine)
    told = [(line.get("event", line["message"]), line["attempt"]) for line in mine]
    assert sorted(told) == sorted(
        [
            ("received", 1),
            ("attempt of mine", 1),
            ("unsuccessful", 1),
            ("received", 2),
            ("attempt of mine", 2),
            ("finished", 2),
        ]
    )
    own = [line for line in mine if line["message"] == "attempt of mine"]
    assert {line["process"] for line in own} == {done["result"]}
    assert {line["customer"] for line in own} == {7}
    assert (done["result"] == running.process.pid) is (pool == "thread")


def test_middleware_runs_where_the_task_runs_and_a_hook_that_raises_harms_nobody(
    celeriac, project, worker, until_there
):
    extend(project, OBSERVED)
    running = worker("-c", "1")
    child = call(celeriac, "tasks.chain")["result"]
    assert call(celeriac, "tasks.where")["state"] == "SUCCESS"
    running.signal(signal.SIGTERM)
    assert running.wait() == exits.OK
    for number in range(1, 6):
        assert f"RuntimeError: hook {number}" in running.text
        assert "the plugin Raises failed in celeriac_worker_started" in running.text
    notes = [line.rpartition(" ") for line in (project / "notes").read_text().splitlines()]
    in_child = [text for text, _, pid in notes if int(pid) == child]
    assert in_child[0] == "run tasks.chain"
    assert in_child.count("publish") == 1
    assert "run tasks.where" in in_child
    assert in_child[-1] == "executor stopped"
    elsewhere = {text for text, _, pid in notes if int(pid) != child}
    assert elsewhere == {"publish"}, "of the commands that sent"
    assert not any(int(pid) == running.process.pid for _, _, pid in notes)


def test_a_distribution_in_the_app_s_own_folder_is_found_by_its_executors_and_imported_by_each(
    celeriac, project, worker
):
    """And not by the process that they are forked from, whatever its import may start."""
    (project / "stranger.py").write_text(STRANGER)
    info = project / "stranger-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 9\n")
    (info / "entry_points.txt").write_text("[celeriac]\nstranger = stranger\n")
    running = worker("-c", "1")
    imported = {int(path.name.partition("-")[2]) for path in project.glob("imported-*")}
    _, child = call(celeriac, "tasks.where")["result"]
    assert (project / "started").read_text() == str(child)
    assert imported == {running.process.pid, child}
    running.signal(signal.SIGTERM)
    assert running.wait() == exits.OK


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "    def celeriac_middleware(self): raise RuntimeError('no key')",
            "failed in celeriac_middleware: RuntimeError",
        ),
        ("    def celeriac_middleware(self): return [print]", "is no Middleware"),
    ],
)
def test_a_plugin_that_cannot_register_stops_the_worker_before_it_takes_anything(text, words, celeriac, project):
    task_id = celeriac("call", "-A", "tasks", "tasks.add", "-a", "[1]").stdout.strip()
    plain = (project / "tasks.py").read_text()
    extend(
        project,
        f"\nfrom celeriac.hookspecs import hookimpl\nclass P:\n    @hookimpl\n{text}\napp.plugins.register(P())\n",
    )
    done = celeriac("worker", "-A", "tasks", "--burst", "-c", "1")
    assert done.returncode == exits.MISCONFIGURED, done.stderr
    assert words in done.stderr
    (project / "tasks.py").write_text(plain)
    assert celeriac("worker", "-A", "tasks", "--burst", "-c", "1").returncode == exits.OK
    assert celeriac("result", "-A", "tasks", task_id).stdout == "SUCCESS: 2\n"
