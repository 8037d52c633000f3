"""What a worker tells of itself, in a small file about once a second, and what is wrong with that.

Whoever asks must be answered fast and without the App, so this file imports nothing heavy: no asyncio, no logging.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BEAT_SECONDS = 1.0
LATE_SECONDS = 5.0
UNCHECKED_SECONDS = 20.0
STARTING = "starting"
RUNNING = "running"
STOPPING = "stopping"
SUFFIX = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a worker tells of itself. Moments are seconds of the machine's monotonic clock.

    Attributes:
        node: its node name.
        pid: its process.
        beat: when its loop last turned.
        phase: ``starting``, ``running`` or ``stopping``.
        failure: why its pool cannot go on; empty while it can.
        connected: the connection to the broker is up.
        error: why it is not; empty while it is.
        consuming: a consumer is open.
        checked: when the broker last agreed that it consumes; ``None`` before the first time.
        running: tasks in its pool.
        held: deliveries that are not settled.
        port: where it serves its health over HTTP; ``None`` where it does not.
    """

    node: str
    pid: int
    beat: float
    phase: str
    failure: str = ""
    connected: bool = False
    error: str = ""
    consuming: bool = False
    checked: float | None = None
    running: int = 0
    held: int = 0
    port: int | None = None

    def not_live(self, now: float) -> Sequence[str]:
        """Return why it should be started again; empty if it should not."""
        problems = []
        age = now - self.beat
        if age < 0:
            problems.append("what it told of itself is from before the machine was started")
        elif age > LATE_SECONDS:
            problems.append(f"its loop has not turned for {age:.0f} s")
        if self.failure:
            problems.append(f"its pool failed: {self.failure}")
        return problems

    def not_ready(self, now: float) -> Sequence[str]:
        """Return why it takes no tasks, or may not be taking any; empty if it does."""
        problems = [*self.not_live(now)]
        if self.phase != RUNNING:
            problems.append(f"it is {self.phase}")
        elif not self.connected:
            problems.append(f"it has lost the broker: {self.error}" if self.error else "it has lost the broker")
        elif not self.consuming or self.checked is None:
            problems.append("it does not consume")
        elif now - self.checked > UNCHECKED_SECONDS:
            problems.append(f"the broker has not agreed for {now - self.checked:.0f} s that it consumes")
        return problems


def runtime_dirs() -> Sequence[Path]:
    """Return where the files may be: where ``CELERIAC_RUNTIME_DIR`` says, else in the user's runtime directory or /tmp.

    A service has no runtime directory of its user, and whoever asks for its health may have one: both are looked at.
    """
    given = os.environ.get("CELERIAC_RUNTIME_DIR")
    if given:
        return [Path(given)]
    own = os.environ.get("XDG_RUNTIME_DIR")
    shared = Path(f"/tmp/celeriac-{os.getuid()}")  # noqa: S108 - of our own, and refused if it is not
    return [Path(own, "celeriac"), shared] if own and Path(own).is_dir() else [shared]


def file_of(node: str, folder: Path) -> Path:
    """Return the file of the worker named ``node``."""
    return folder / (node.replace("%", "%25").replace("/", "%2F") + SUFFIX)


def write(health: Health, folder: Path) -> None:
    """Replace the worker's file, all at once; only its user may read it.

    Raises:
        OSError: it cannot be written, or ``folder`` is another user's.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a directory of this user's alone")
    file = file_of(health.node, folder)
    new = file.with_suffix(f".{health.pid}")
    new.write_text(json.dumps(asdict(health)), encoding="utf-8")
    new.replace(file)


def read(file: Path) -> Health | None:
    """Return what a worker has told of itself; ``None`` if that is nothing, or cannot be read."""
    known = {each.name for each in fields(Health)}
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        return Health(**{name: value for name, value in table.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def forget(health: Health, folder: Path) -> None:
    """Remove the worker's file, unless it is another's by now. Never raises."""
    file = file_of(health.node, folder)
    found = read(file)
    if found is not None and found.pid == health.pid:
        with contextlib.suppress(OSError):
            file.unlink()


def is_alive(pid: int) -> bool:
    """Return whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
