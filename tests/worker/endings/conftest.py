"""An App of its own for each module, in a file where children find it, with notes that its tasks leave."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATIENCE = 20


class Notes:
    """What tasks have told, as it comes."""

    def __init__(self, path):
        self.path = path
        path.touch()

    def all(self):
        return self.path.read_text().split("\n")[:-1]

    def until(self, word):
        """Return once a task has told ``word``."""
        again = threading.Event()
        for _ in range(PATIENCE * 100):
            if word in self.all():
                return
            again.wait(0.01)
        pytest.fail(f"nobody told {word!r}: {self.all()}")


class Ending:
    """The App, its tasks by attribute, and the notes of its tasks."""

    def __init__(self, module, notes):
        self.module = module
        self.app = module.app
        self.notes = notes

    def __getattr__(self, name):
        return getattr(self.module, name)

    def worker(self, **options):
        """Return a worker with threads, though some of the tasks have hard limits."""
        return self.app.run_worker(soft_limits_only=True, **options)

    def get(self, result, **more):
        return result.get(timeout=PATIENCE, **more)

    def error(self, result):
        return result.get(timeout=PATIENCE, propagate=False)


def load(broker, folder):
    """Import the App's module anew, for this broker."""
    os.environ["ENDING_BROKER"], os.environ["ENDING_NOTES"] = broker, str(folder / "notes")
    sys.modules.pop("ending_app", None)
    return Ending(importlib.import_module("ending_app"), Notes(folder / "notes"))


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def ending(request, tmp_path_factory):
    """The App on each broker that needs no server."""
    folder = tmp_path_factory.mktemp("ending")
    sys.path.insert(0, str(HERE))
    broker = "memory://ending" if request.param == "memory" else f"sqlite:///{folder}/ending.db"
    found = load(broker, folder)
    yield found
    found.app.close()
    sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory):
    """The App on SQLite."""
    folder = tmp_path_factory.mktemp("ending")
    sys.path.insert(0, str(HERE))
    found = load(f"sqlite:///{folder}/ending.db", folder)
    yield found
    found.app.close()
    sys.path.remove(str(HERE))


@pytest.fixture
def fifo(tmp_path):
    """A gate that a task waits at until the test writes into it."""
    os.mkfifo(tmp_path / "gate")
    return tmp_path / "gate"


@pytest.fixture(scope="module")
def children(on_sqlite):
    """The App on SQLite, with one child process at work."""
    with on_sqlite.app.run_worker(pool="process", concurrency=1, grace=0):
        yield on_sqlite
