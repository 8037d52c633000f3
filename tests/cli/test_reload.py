"""`celeriac worker --reload`, with real processes: what restarts, what does not, and that nothing is lost."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.conftest import environment

from celeriac.cli import exits

RESTART_SECONDS = 2.0  # on a machine on which a worker starts in half of it


@pytest.fixture
def reloading(worker, project):
    """Start a worker that reloads; nothing of it outlives the test."""
    started = []

    def start(*args, ready="ready.", program=("-m", "celeriac", "worker", "-A", "tasks")):
        begun = time.monotonic()
        running = worker("-c", "1", "-l", "INFO", "--reload", *args, program=program, ready=ready)
        running.bound = max(RESTART_SECONDS, 2 * (time.monotonic() - begun))
        started.append(running)
        return running

    yield start
    for running in started:
        if running.process.poll() is None:
            running.signal(signal.SIGTERM)
            running.wait()


def edit(project, before, after):
    tasks = project / "tasks.py"
    text = tasks.read_text()
    assert before in text
    tasks.write_text(text.replace(before, after))


def until(running, words, times):
    deadline = time.monotonic() + 20
    while running.text.count(words) < times:
        assert time.monotonic() < deadline, running.text
        time.sleep(0.01)


def call(celeriac, name, *args):
    done = celeriac("call", "-A", "tasks", name, "-a", json.dumps(args), "--wait", "15", "--json")
    return json.loads(done.stdout)["result"]


def send(celeriac, name, *args):
    return celeriac("call", "-A", "tasks", name, "-a", json.dumps(args)).stdout.strip()


def result(celeriac, task_id):
    return celeriac("result", "-A", "tasks", task_id, "--wait", "15").stdout


def test_a_change_restarts_and_a_task_in_flight_ends_where_it_began(celeriac, project, reloading, until_there):
    running = reloading("-Q", "celeriac,mail")
    assert call(celeriac, "tasks.add", 1) == 2
    held = send(celeriac, "tasks.wait_for", "go")
    until_there(project / "running")
    begun = time.monotonic()
    edit(project, "return x + y", "return 100 * (x + y)")
    until(running, "ready.", 2)
    assert time.monotonic() - begun < running.bound
    assert call(celeriac, "tasks.add", 1) == 200, "the new code runs beside the task of the old"
    (project / "go").touch()
    assert result(celeriac, held) == "SUCCESS: 'go'\n"
    assert len(re.findall(rf"Task tasks\.wait_for\[{held}\] received", running.text)) == 1
    running.signal(signal.SIGTERM)
    assert running.wait() == exits.OK
    assert "tasks.py changed; starting again" in running.text
    assert "Traceback" not in running.text


def test_an_idle_worker_restarts_in_time_again_and_again(celeriac, project, reloading):
    running = reloading()
    for number in range(2, 6):
        begun = time.monotonic()
        edit(project, '"""Add ', '"""Add and add ')
        until(running, "ready.", number)
        assert time.monotonic() - begun < running.bound
    assert call(celeriac, "tasks.add", 1) == 2
    running.signal(signal.SIGINT)
    assert running.wait() == exits.OK


def test_nothing_is_lost_while_it_restarts(celeriac, project, reloading):
    """Tasks are sent all the while; each is run once, by old code or new."""
    source = (project / "tasks.py").read_text()
    (project / "tasks.py").write_text(
        f"{source}\n\n@app.task\ndef note(number):\n    with (here / 'notes').open('a') as file:\n"
        "        file.write(f'{number}\\n')\n    time.sleep(0.02)\n"
    )
    sender = (
        "import tasks, time\nprint('imported', flush=True)\nfor number in range(150):\n"
        "    tasks.note.delay(number)\n    time.sleep(0.02)\nprint('sent')\n"
    )
    running = reloading()
    process = subprocess.Popen(
        [sys.executable, "-c", sender], cwd=project, env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "imported\n", "before the file is written again"
    for number in range(2, 5):
        edit(project, '"""Add ', '"""Add and add ')
        until(running, "ready.", number)
    assert process.communicate(timeout=30)[0] == "sent\n"
    running.signal(signal.SIGTERM)
    assert running.wait() == exits.OK
    assert celeriac("worker", "-A", "tasks", "--burst", "-c", "1").returncode == exits.OK
    notes = sorted(map(int, (project / "notes").read_text().split()))
    assert notes == list(range(150))


def test_a_file_that_cannot_be_compiled_is_waited_out(celeriac, project, reloading):
    running = reloading()
    edit(project, "return x + y", "return x +")
    until(running, "waiting for the next change", 1)
    assert re.search(r"tasks\.py:\d+: SyntaxError: invalid syntax; the worker goes on as it was", running.text)
    (project / "other.py").write_text("x = 1\n")  # the broken one is still broken
    until(running, "waiting for the next change", 2)
    assert call_without_importing(celeriac, project) == "SUCCESS: 2\n"
    edit(project, "return x +", "return x + y + 10")
    until(running, "ready.", 2)
    assert call(celeriac, "tasks.add", 1) == 12
    assert running.text.count("starting again") == 1


def call_without_importing(celeriac, project):
    broker = f"sqlite:///{project}/queue.db"
    sent = celeriac("call", "-b", broker, "tasks.add", "-a", "[1]", "--wait", "15")
    return sent.stdout.splitlines(keepends=True)[-1]


def test_a_module_that_fails_to_import_is_waited_out(celeriac, project, reloading):
    edit(project, "app = App(", "app = Apple(")
    running = reloading(ready="waiting for the next change")
    assert "NameError: name 'Apple' is not defined" in running.text
    assert "the worker ended with 1; waiting for the next change" in running.text
    edit(project, "app = Apple(", "app = App(")
    running.until("ready.")
    assert call(celeriac, "tasks.add", 1) == 2


def test_a_program_that_is_its_own_worker_reloads_too(project, reloading):
    (project / "tasks.py").write_text((project / "tasks.py").read_text() + "\napp.worker_main()\n")
    running = reloading(program=("tasks.py",))
    edit(project, '"""Add two', '"""Add 2')
    until(running, "ready.", 2)


def test_what_is_no_source_changes_nothing(project, reloading):
    running = reloading()
    (project / "notes.txt").write_text("x")
    (project / ".venv").mkdir()
    (project / ".venv" / "site.py").write_text("x = 1")
    (project / "pyproject.toml").write_text("[tool.celeriac]\ngrace = 7\n")
    until(running, "ready.", 2)
    assert "pyproject.toml changed; starting again" in running.text
    assert "notes.txt" not in running.text
    assert "site.py" not in running.text


def test_a_reloader_that_is_killed_leaves_no_worker(project, reloading):
    running = reloading()
    deadline = time.monotonic() + 10
    while not (found := list((project / "run").glob("*.json"))):
        assert time.monotonic() < deadline
    pid = json.loads(found[0].read_text())["pid"]
    assert alive(pid)
    running.signal(signal.SIGKILL)
    running.process.wait()
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.02)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_as_json(project, reloading):
    running = reloading("--json", ready='"ready": true')
    edit(project, "return x + y", "return x +")
    running.until("waiting for the next change")
    told = [json.loads(line) for line in running.text.splitlines()]
    watching, problem = [line["reloader"] for line in told if "reloader" in line]
    assert watching == f"watching {project}"
    assert problem.startswith(f"{project}/tasks.py:")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--reload", "--burst"], "--burst for operating"),
        (["--reload", "--health-port", "0"], "--health-port for operating"),
        (["--reload", "-l", "loud"], "INFO"),
    ],
)
def test_what_does_not_go_together(argv, words, celeriac):
    done = celeriac("worker", "-A", "tasks", *argv)
    assert done.returncode == exits.USAGE
    assert words in done.stderr
