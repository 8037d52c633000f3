"""The commands of docs/how-to/operations.md run; its unit, image and pod start workers that are stopped gently."""

import argparse
import configparser
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.examples.test_examples import environment, worker

import celeriac
from celeriac.cli import exits
from celeriac.cli import health as health_command
from celeriac.cli import worker as worker_command
from celeriac.cli.main import add_common_arguments
from celeriac.worker.health import Health, read

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    name: (DOCS / "how-to" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("operations", "dead-letters", "cancel")
}
PAGE = PAGES["operations"]
TASKS = """
from celeriac import App, Reject

app = App()


@app.task
def charge(amount):
    raise Reject("no money")


@app.task
def hold(seconds): ...
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def runtime(folder):
    return {"CELERIAC_RUNTIME_DIR": str(folder / "run")}


def part(title, page="operations"):
    """Return the command lines under a heading."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGES[page], re.DOTALL | re.MULTILINE)
    return [
        line
        for block in re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


@pytest.fixture
def shell(folder):
    """Run a line of the page as it stands there, with $ID; returns what it printed."""

    def run(line, task_id="", code=exits.OK):
        assert line.startswith("celeriac ")
        bin_folder = Path(sys.executable).parent
        told = {**environment(), **runtime(folder), "ID": task_id}
        told["PATH"] = f"{bin_folder}:{told['PATH']}"
        done = subprocess.run(
            ["sh", "-c", line], cwd=folder, env=told, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def charges(shell):
    """Let some tasks become dead letters; returns their ids."""

    def make(count):
        ids = [shell("celeriac -A tasks call tasks.charge --args [1]").strip() for _ in range(count)]
        shell("celeriac -A tasks worker --burst -c 1 -Q celeriac")
        return ids

    return make


def test_every_heading_with_commands_is_tested():
    headings = [(page, title) for page, text in PAGES.items() for title in re.findall(r"^## (.+)$", text, re.MULTILINE)]
    assert [title for page, title in headings if part(re.escape(title), page)] == [
        "Health",
        "How full the queues are",
        "Draining a queue",
        "Look, send back, drop",
        "From the command line, and from coroutines",
    ]


def test_health(shell, folder, monkeypatch):
    for line in part("Health"):
        shell(line, code=exits.FAILED)  # nobody is there
    kept = environment()
    monkeypatch.setattr("tests.examples.test_examples.environment", lambda: {**kept, **runtime(folder)})
    with worker(folder, "-n", "main@%h"):
        deadline = time.monotonic() + 20
        while not is_well(folder):  # it tells of itself once a second
            assert time.monotonic() < deadline
        for line in part("Health"):
            assert "main@" in shell(line)


def is_well(folder):
    health = read(next((folder / "run").glob("*.json")))
    return health is not None and not health.not_ready(time.monotonic())


def test_what_health_says_stands_in_the_page():
    told = Health(
        node="w", pid=1, beat=100.0, phase="running", failure="x", connected=True, consuming=True, checked=0.0
    )
    said = [*told.not_ready(106.0), *replace(told, connected=False, error="x").not_ready(100.0)]
    said += replace(told, consuming=False).not_ready(100.0)
    for text in said:
        shape = re.sub(r"\d+ s", "N s", re.sub(": x$", ": ...", text))
        assert f"| {shape} |" in PAGE


def test_queues(shell):
    for line in part("How full the queues are"):
        assert shell(line)


def test_dead_letters(shell, charges):
    ids = charges(5)
    listed, narrowed, shown, one, some, everything, *purges = part("Look, send back, drop", "dead-letters")
    assert all(each in shell(listed) for each in ids)
    assert [row["id"] for row in json.loads(shell(narrowed))] == ids
    assert "detail: 'no money'" in shell(shown, ids[2])
    assert shell(one, ids[2]) == f"{ids[2]}: back in celeriac\n"
    assert shell(some) == f"{ids[0]}: back in celeriac\n"
    assert shell(everything).count("back in celeriac") == 3
    assert shell(listed) == "no dead letters\n"
    charges(0)  # nothing new, but a worker that lets them die again
    assert [shell(line) for line in purges] == ["5 dead letters dropped\n", "0 dead letters dropped\n"]


def test_the_reasons_are_the_reasons():
    """Each that the code can write, and no other."""
    worker_folder = Path(celeriac.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in worker_folder.rglob("*.py"))
    reasons = re.findall(r"^\| `(\w+)` \| ", PAGES["dead-letters"], re.MULTILINE)
    assert len(reasons) == 9
    for reason in reasons:
        assert f'"{reason}"' in source


def test_cancelling(shell):
    for line in part("From the command line, and from coroutines", "cancel"):
        task_id = shell("celeriac -A tasks call tasks.hold --args [1]").strip()
        assert shell(line, task_id) == f"{task_id}: cancelled\n"
        shell(f"celeriac -A tasks result {task_id}", code=exits.FAILED)


def test_draining(shell):
    for line in part("Draining a queue"):
        task_id = shell("celeriac -A tasks call tasks.hold --args [1]").strip()
        shell(line)
        assert shell(f"celeriac -A tasks result {task_id}") == "SUCCESS: None\n"


def options(words):
    """Parse a command of the page as the command line does."""
    assert words[0].rpartition("/")[2] == "celeriac"
    name = next(word for word in words if word in {"worker", "health"})
    parser = argparse.ArgumentParser(exit_on_error=False)
    {"worker": worker_command, "health": health_command}[name].add_arguments(parser)
    add_common_arguments(parser)
    return parser.parse_args([word for word in words[1:] if word != name])


def test_the_unit():
    (text,) = blocks("ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(text)
    service = unit["Service"]
    told = options(service["ExecStart"].split())
    assert float(service["TimeoutStopSec"]) > float(told.grace)
    assert service["KillMode"] == "mixed"
    never = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert never == {exits.USAGE, exits.REFUSED, exits.MISCONFIGURED}
    assert service["Environment"] == f"CELERIAC_RUNTIME_DIR=/run/{service['RuntimeDirectory']}"
    assert service["RuntimeDirectoryMode"] == "0700"


def test_the_image():
    (text,) = blocks("dockerfile")
    health, command = (json.loads(line.partition("CMD ")[2]) for line in text.splitlines() if "CMD [" in line)
    assert options(health)
    grace = float(options(command).grace)
    seconds = re.findall(r"stop --time (\d+)|stop_grace_period: (\d+)s", PAGE)
    assert all(float(one or other) > grace for one, other in seconds)
    assert len(seconds) == 2


def test_the_pod():
    (text,) = blocks("yaml")
    told = options(json.loads(re.search(r"args: (\[.*\])", text)[1]))
    assert int(re.search(r"terminationGracePeriodSeconds: (\d+)", text)[1]) > float(told.grace)
    probes = re.findall(r"httpGet: \{path: (\S+), port: (\d+)\}", text)
    assert {int(port) for _, port in probes} == {told.health_port}
    assert [path for path, _ in probes] == ["/live", "/live", "/ready"]
