"""`celeriac health`, `--health-port` and `--burst`, with real workers on SQLite."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from tests.cli.conftest import environment

from celeriac.cli import exits
from celeriac.worker import health as told
from celeriac.worker.health import LATE_SECONDS, RUNNING, UNCHECKED_SECONDS, Health

PATIENCE = 20.0
SHARED = f"/tmp/celeriac-{os.getuid()}"  # noqa: S108 - the place that is looked at
WELL = Health(node="w@h", pid=1, beat=100.0, phase=RUNNING, connected=True, consuming=True, checked=100.0)

# the worker's loop does not turn while the file is there
WEDGE = """
import time
from tasks import app, here
from celeriac.worker.worker import Worker

health = Worker.health

def wedged(self):
    while (here / "wedged").exists():
        time.sleep(0.02)
    return health(self)

Worker.health = wedged
"""


@pytest.fixture
def ask(celeriac):
    """Ask for the health; returns the exit code and what is told of each worker."""

    def ask(*argv):
        done = celeriac("health", "--json", *argv)
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    return ask


@pytest.fixture
def until_health(ask):
    def until(code, *argv):
        deadline = time.monotonic() + PATIENCE
        while (found := ask(*argv))[0] != code or isinstance(found[1], str):
            assert time.monotonic() < deadline, found
        return found[1]

    return until


def problems(told):
    return [problem for each in told for problem in each["problems"]]


def get(port, path, method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310 - http, as it says
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize(
    ("changed", "now", "live", "words"),
    [
        ({}, 100.0, True, None),
        ({}, 100.0 + LATE_SECONDS, True, None),
        ({}, 101.0 + LATE_SECONDS, False, "its loop has not turned for 6 s"),
        ({}, 99.0, False, "before the machine was started"),
        ({"failure": "no app"}, 100.0, False, "its pool failed: no app"),
        ({"phase": "starting"}, 100.0, True, "it is starting"),
        ({"phase": "stopping"}, 100.0, True, "it is stopping"),
        ({"connected": False, "error": "refused"}, 100.0, True, "it has lost the broker: refused"),
        ({"connected": False}, 100.0, True, "it has lost the broker"),
        ({"consuming": False}, 100.0, True, "it does not consume"),
        ({"checked": None}, 100.0, True, "it does not consume"),
        ({"checked": 99.0 - UNCHECKED_SECONDS}, 100.0, True, "the broker has not agreed for 21 s that it consumes"),
    ],
)
def test_what_is_wrong(changed, now, live, words):
    health = replace(WELL, **changed)
    assert (not health.not_live(now)) is live
    assert [words in each for each in health.not_ready(now)] == ([True] if words else [])


def test_a_file_a_worker_which_only_its_user_reads(tmp_path):
    folder = tmp_path / "celeriac"
    health = replace(WELL, node="a/b%@h")
    told.write(health, folder)
    (file,) = folder.iterdir()
    assert (file.name, folder.stat().st_mode & 0o777) == ("a%2Fb%25@h.json", 0o700)
    assert told.read(told.file_of(health.node, folder)) == health
    told.forget(replace(health, pid=2), folder)  # another worker has taken the name
    assert file.exists()
    told.forget(health, folder)
    assert not file.exists()
    told.forget(health, folder)


@pytest.mark.parametrize("mode", [0o777, 0o750, None])
def test_a_place_that_others_can_write_to_is_refused(tmp_path, mode):
    folder = tmp_path / "celeriac"
    if mode is None:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(mode)
    with pytest.raises(PermissionError):
        told.write(WELL, folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"node": "x"', '{"node": "x", "pid": 1}', "7"])
def test_a_file_that_says_nothing(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    assert told.read(tmp_path / "x.json") is None


def test_a_later_version_may_say_more(tmp_path):
    (tmp_path / "x.json").write_text('{"node": "x", "pid": 1, "beat": 2.0, "phase": "running", "mood": "good"}')
    assert told.read(tmp_path / "x.json") == Health(node="x", pid=1, beat=2.0, phase="running")


def test_the_file_is_looked_for_in_both_places(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert [str(each) for each in told.runtime_dirs()] == [f"{tmp_path}/celeriac", SHARED]
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    assert [str(each) for each in told.runtime_dirs()] == [SHARED]
    monkeypatch.setenv("CELERIAC_RUNTIME_DIR", "/run/celeriac")
    assert [str(each) for each in told.runtime_dirs()] == ["/run/celeriac"]


def test_it_imports_nothing_heavy_and_costs_little(tmp_path):
    code = (
        "import sys\nfrom celeriac.cli import main\ncode = main(['health'])\n"
        "heavy = {'asyncio', 'pluggy', 'logging', 'concurrent.futures', 'ssl', 'celeriac.app'} & sys.modules.keys()\n"
        "assert not heavy, heavy\nsys.exit(code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(CELERIAC_RUNTIME_DIR=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == exits.FAILED
    assert done.stderr.startswith("celeriac health: no worker of this user has told of itself")
    # the processor's time, not the clock's: the machine may be busy
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.2


def test_a_worker_that_is_well_then_killed(worker, ask, until_health):
    running = worker("-c", "1", "-n", "w1@%h")
    (health,) = until_health(exits.OK)
    assert (health["pid"], health["healthy"], health["problems"]) == (running.process.pid, True, [])
    assert ask("-n", "w1@%h", "--live")[0] == exits.OK
    assert ask("-n", "other")[0] == exits.FAILED
    running.signal(signal.SIGKILL)
    running.process.wait()
    code, found = ask("-n", "w1@%h")
    assert (code, problems(found)) == (exits.FAILED, ["its process is gone"])


def test_a_worker_that_leaves_takes_its_file_along(worker, ask, celeriac, until_health):
    running = worker("-c", "1")
    until_health(exits.OK)
    text = celeriac("health").stdout
    assert re.fullmatch(r"celeriac@\S+ \(pid \d+\): well, 0 tasks running, 0 held\n", text)
    running.signal(signal.SIGTERM)
    assert running.wait() == exits.OK
    code, error = ask()
    assert code == exits.FAILED
    assert "no worker" in error


def test_a_loop_that_is_wedged(project, worker, until_health):
    (project / "wedge.py").write_text(WEDGE)
    worker("-c", "1", program=("-m", "celeriac", "worker", "-A", "wedge"))
    until_health(exits.OK)
    (project / "wedged").touch()
    assert re.match(r"its loop has not turned for \d+ s", problems(until_health(exits.FAILED, "--live"))[0])
    (project / "wedged").unlink()
    until_health(exits.OK)


def test_two_workers_of_one_name_are_told(worker, until_health):
    worker("-c", "1", "-n", "twin")
    until_health(exits.OK)
    second = worker("-c", "1", "-n", "twin")
    second.until("another worker on this machine is called celeriac@twin")


def test_a_worker_whose_file_cannot_be_written_works_all_the_same(worker, celeriac, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o777)
    running = worker("-c", "1", CELERIAC_RUNTIME_DIR=str(place))
    running.until("celeriac health will not know of this worker")
    assert celeriac("call", "-A", "tasks", "tasks.add", "-a", "[1]", "--wait", "20").returncode == exits.OK


def test_probes_and_a_port_that_is_taken(worker, celeriac, until_health):
    worker("-c", "1", "--health-port", "0")
    (health,) = until_health(exits.OK)
    port = health["port"]
    for path in ("/live", "/ready", "/ready?verbose"):
        status, body = get(port, path)
        assert (status, body["problems"], body["node"]) == (200, [], health["node"])
    assert get(port, "/")[0] == 404
    assert get(port, "/live", "POST")[0] == 405
    taken = celeriac("worker", "-A", "tasks", "--health-port", str(port))
    assert taken.returncode == exits.MISCONFIGURED
    assert f"--health-port {port}: Address already in use; give another, or 0 for a free one" in taken.stderr
    none = celeriac("worker", "-A", "tasks", "--health-port", "70000")
    assert none.returncode == exits.USAGE
    assert "70000 is no port: use 0 to 65535" in none.stderr


def test_a_worker_that_is_stopping_is_alive_and_not_ready(worker, celeriac, project, until_there, until_health, ask):
    running = worker("-c", "1", "-Q", "mail", "--health-port", "0")
    celeriac("call", "-A", "tasks", "tasks.wait_for", "-a", '["go"]')
    until_there(project / "running")
    port = until_health(exits.OK)[0]["port"]
    running.signal(signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while (answer := get(port, "/ready"))[0] == 200:
        assert time.monotonic() < deadline
    assert (answer[0], answer[1]["problems"]) == (503, ["it is stopping"])
    assert get(port, "/live")[0] == 200
    assert problems(until_health(exits.FAILED)) == ["it is stopping"]
    assert ask("--live")[0] == exits.OK
    (project / "go").touch()
    assert running.wait() == exits.OK


@pytest.mark.parametrize("pool", ["process", "thread", "solo"])
def test_burst_drains_and_ends(pool, celeriac, project):
    """What tasks send is drained too; what is delayed is not waited for."""
    source = (project / "tasks.py").read_text()
    (project / "chain.py").write_text(
        f"{source}\n@app.task\ndef chain(n):\n    if n:\n        chain.delay(n - 1)\n    return n\n"
    )
    celeriac("call", "-A", "chain", "chain.chain", "-a", "[3]")
    celeriac("call", "-A", "chain", "chain.add", "-a", "[3]", "--countdown", "600")
    done = celeriac("worker", "-A", "chain", "-P", pool, "-c", "1", "--burst", "-l", "INFO")
    assert done.returncode == exits.OK, done.stderr
    assert len(re.findall(r"chain\.chain\[\S+\] succeeded", done.stderr)) == 4
    (row,) = json.loads(celeriac("queues", "list", "celeriac", "-A", "chain", "--json").stdout)
    assert (row["ready"], row["delayed"]) == (0, 1)


def test_burst_waits_for_what_runs_though_it_was_acknowledged(celeriac, worker, project, until_there):
    celeriac("call", "-A", "tasks", "tasks.wait_for", "-a", '["go"]')
    running = worker("-c", "1", "-Q", "mail", "--burst")
    until_there(project / "running")
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(1.5)
    (project / "go").touch()
    assert running.wait() == exits.OK


def test_burst_waits_for_no_paused_queue(celeriac):
    celeriac("call", "-A", "tasks", "tasks.add", "-a", "[1]")
    celeriac("queues", "pause", "celeriac", "-A", "tasks")
    assert celeriac("worker", "-A", "tasks", "-c", "1", "--burst").returncode == exits.OK
    (row,) = json.loads(celeriac("queues", "list", "celeriac", "-A", "tasks", "--json").stdout)
    assert row["ready"] == 1
