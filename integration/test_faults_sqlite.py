"""What can happen to a database file under a worker that runs: it is removed, replaced, full, locked by a stranger."""

from __future__ import annotations

import itertools
import resource
import shutil
import sqlite3
import time
from contextlib import closing

import pytest
from witness import until
from worker_process import WorkerProcess

from celeriac import App
from celeriac.connection import LONGEST_PAUSE
from celeriac.errors import ConnectionLost, PublishUnconfirmed

BOUND = LONGEST_PAUSE + 2.0  # there is no heartbeat: the file is looked at four times a second
NUMBERS = itertools.count()


class Scene:
    def __init__(self, folder) -> None:
        self.file = folder / "celeriac.db"
        self.url = f"sqlite:///{self.file}?lease=2"
        self.path = folder / "ran"
        self.path.touch()
        self.app = App("client", broker=self.url, publish_timeout=2.0, ignore_result=True)

    def try_to_send(self) -> str | None:
        number = str(next(NUMBERS))
        try:
            self.app.send_task("sums.note", (str(self.path), int(number)))
        except (ConnectionLost, PublishUnconfirmed):
            return None
        return number

    def ran(self) -> list[str]:
        return self.path.read_text().split()

    def is_well(self, fault: str) -> None:
        begun = time.monotonic()
        sent: list[str | None] = []
        until(lambda: sent.append(self.try_to_send()) or sent[-1], BOUND)
        until(lambda: sent[-1] in self.ran(), begun + BOUND - time.monotonic(), lambda: "\n".join(self.worker.lines))
        print(f"{fault}: a task started after {time.monotonic() - begun:.1f} s")


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    with WorkerProcess("sums", scene.url, "-c", "1") as scene.worker:
        scene.worker.ready()
        scene.is_well("nothing")
        yield scene
        scene.app.close()
        assert scene.worker.terminate() == 0


def remove(file) -> None:
    for path in file.parent.glob("celeriac.db*"):
        if path.is_file():
            path.unlink()


def test_the_file_is_removed(scene) -> None:
    remove(scene.file)
    scene.is_well("removed")


def test_the_file_is_replaced_by_a_backup_of_it(scene) -> None:
    with closing(sqlite3.connect(scene.file)) as live, closing(sqlite3.connect(scene.file.parent / "backup")) as backup:
        live.backup(backup)
    remove(scene.file)
    shutil.move(scene.file.parent / "backup", scene.file)
    scene.is_well("replaced")


def test_the_disk_is_full_for_a_while(scene) -> None:
    """As far as the worker can see: no file of its grows any more."""
    pid = scene.worker.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    seen = len(scene.worker.lines)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
    sent = [scene.try_to_send() for _ in range(3)]
    until(lambda: any("lost the broker" in line for line in scene.worker.lines[seen:]))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    scene.is_well("full disk")
    until(lambda: set(sent) <= set(scene.ran()))
    assert len(scene.worker.lines) - seen < 100, "a full disk is told of, not shouted"


def test_a_stranger_locks_the_file_for_longer_than_the_lease(scene) -> None:
    with closing(sqlite3.connect(scene.file, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        assert scene.try_to_send() is None
        assert scene.try_to_send() is None
        stranger.execute("ROLLBACK")
    scene.is_well("locked")
    assert len(scene.ran()) == len(set(scene.ran())) == 2, "what was given up is not run"
