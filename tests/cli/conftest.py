"""A small project in a folder of its own, the `celeriac` command there, and workers that end with their test."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time

import pytest

PATIENCE = 20.0

TASKS = '''
import asyncio, logging, os, threading, time
from pathlib import Path
from celeriac import App

app = App(broker={broker!r})
logger = logging.getLogger("project")
here = Path(__file__).parent


@app.task
def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    logger.info("adding %s and %s", x, y)
    return x + y


@app.task
async def aadd(x, y):
    await asyncio.sleep(0.01)
    return x + y


@app.task
def fail(text):
    raise ValueError(text)


@app.task
def where():
    return threading.current_thread() is threading.main_thread(), os.getpid()


@app.task(bind=True, queue="mail", acks_late=False)
def wait_for(self, name):
    """Tell that it runs, then wait for a file."""
    (here / "running").touch()
    deadline = time.monotonic() + 20
    while not (here / name).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return name


@app.task
def hold():
    (here / "running").touch()
    time.sleep(20)
'''


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CELERIAC_", "PYTHON"))}
    return {**kept, "PYTHONWARNINGS": "error", **more}


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "tasks.py").write_text(TASKS.format(broker=f"sqlite:///{folder}/queue.db"))
    return folder


@pytest.fixture
def celeriac(project):
    """Run a command in the project's folder to its end."""

    def run(*args, timeout=PATIENCE, stdin=subprocess.DEVNULL, **env):
        return subprocess.run(
            [sys.executable, "-m", "celeriac", *args],
            cwd=project,
            env=environment(CELERIAC_RUNTIME_DIR=str(project / "run"), **env),
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


class RunningWorker:
    """A worker process, and what it has said so far."""

    def __init__(self, command, cwd, env):
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.text = ""
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self.text += line
                self._news.notify_all()

    def until(self, words):
        with self._news:
            assert self._news.wait_for(lambda: words in self.text, PATIENCE), f"no {words!r} in:\n{self.text}"

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=PATIENCE):
        code = self.process.wait(timeout)
        self._reader.join()
        return code

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        self.process.stdout.close()


@pytest.fixture
def worker(project):
    """Start a worker in the project's folder; returns once it is ready."""
    with contextlib.ExitStack() as stack:

        def start(*args, program=("-m", "celeriac", "worker", "-A", "tasks"), ready="ready", **env):
            told = environment(**{"CELERIAC_RUNTIME_DIR": str(project / "run"), **env})
            running = RunningWorker([sys.executable, *program, *args], project, told)
            stack.callback(running.end)
            running.until(ready)
            return running

        yield start


@pytest.fixture
def until_there():
    def wait(path):
        deadline = time.monotonic() + PATIENCE
        while not path.exists():
            assert time.monotonic() < deadline, f"{path} did not come"
            time.sleep(0.01)

    return wait
