"""Importing celeriac, and a module of tasks, opens no socket, file or thread; nor does making an App."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TASKS = """
from celeriac import App, Queue

app = App("shop", broker={broker!r}, queues=[Queue("mail", priorities=10)], routes={{"shop.*": "mail"}})

@app.task
def add(x: int, y: int) -> int:
    return x + y

@app.task(bind=True, queue="mail")
async def send(self, to: str) -> None: ...
"""

# audit events see what no patch does: sockets, files, databases and processes, whoever opens them; a thread has none
WATCH = """
import os, sqlite3, sys, threading, socket

def refuse(*args, **kwargs):
    raise AssertionError("a thread was started")

threading.Thread.start = refuse

def watch(event, args):
    if event in {"socket.__new__", "sqlite3.connect", "subprocess.Popen", "os.fork"}:
        raise AssertionError(f"{event} {args}")
    if event == "open" and (args[1] is not None and set(args[1]) & set("wax+") or args[2] & (os.O_WRONLY | os.O_RDWR)):
        raise AssertionError(f"a file was opened for writing: {args}")

sys.addaudithook(watch)
sys.dont_write_bytecode = True
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WATCH + code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_importing_tasks_opens_nothing(tmp_path: Path) -> None:
    for broker in (None, "memory://", "memory://shop"):
        (tmp_path / "tasks.py").write_text(TASKS.format(broker=broker))
        done = run("import tasks; print(sorted(tasks.app.tasks))", tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "['tasks.add', 'tasks.send']\n"


def test_neither_plugins_nor_drivers_are_imported(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(TASKS.format(broker=None))
    done = run("import tasks; print([m for m in sys.modules if m.startswith(('pika', 'celeriac_'))])", tmp_path)
    assert done.stdout == "[]\n", done.stderr


# of ours, all that `from celeriac import App` loads, and what an App with a task loads besides
TO_IMPORT = "app errors flow lazy parts registry retry submit task"
TO_DECLARE = "clock configuration declared protocol protocol.compression routing settings topology"
# each of these takes longer than all of ours
HEAVY = {
    "asyncio",
    "decimal",
    "email",
    "importlib.metadata",
    "json",
    "logging",
    "pluggy",
    "socket",
    "ssl",
    "subprocess",
}
DECLARING = """
import sys
before = set(sys.modules)  # an environment may load what it likes
from celeriac import App
imported = set(sys.modules)
app = App("shop", broker="amqp://guest:secret@localhost//", queues=())

@app.task
def add(x: int, y: int) -> int:
    return x + y

for loaded in (imported, set(sys.modules)):
    print(*sorted(loaded - before))
"""


def test_declaring_tasks_loads_little(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", DECLARING],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported, declared = (set(line.split()) for line in done.stdout.splitlines())
    assert _ours(imported) == set(TO_IMPORT.split())
    assert _ours(declared) == {*TO_IMPORT.split(), *TO_DECLARE.split()}
    assert not declared & HEAVY


def _ours(modules: set[str]) -> set[str]:
    return {name.removeprefix("celeriac.") for name in modules if name.startswith("celeriac.")}


def test_the_watch_sees_what_it_should(tmp_path: Path) -> None:
    for code in (
        "socket.socket()",
        "sqlite3.connect(':memory:')",
        "open('x', 'w')",
        "threading.Thread(target=print).start()",
        "from celeriac import App; App(broker='memory://').client",
    ):
        done = run(code, tmp_path)
        assert done.returncode == 1, code
        assert "AssertionError" in done.stderr
