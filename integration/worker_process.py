"""Real worker processes for tests: started by the command, watched by their output, killed without mercy."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

PROGRAMS = Path(__file__).parent / "programs"


class WorkerProcess:
    """``celeriac -A MODULE worker ...`` as a context manager; killed, with all its family, when the block is left."""

    def __init__(
        self, module: str, broker: str, *arguments: str, variable: str = "SUMS_BROKER", prefix: Sequence[str] = ()
    ) -> None:
        self._command = [*prefix, sys.executable, "-m", "celeriac", "-A", module, "worker", "-l", "INFO", *arguments]
        self._environment = {**os.environ, variable: broker, "PYTHONUNBUFFERED": "1"}
        self.lines: list[str] = []
        self._news = threading.Condition()

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            env=self._environment,
            cwd=PROGRAMS,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        family = self.family()
        for pid in family:
            _kill(pid)
        self.process.wait()
        self._reader.join(5)
        self.process.stdout.close()

    def until(self, text: str, timeout: float = 20.0) -> str:
        """Return the first line that holds ``text``, as soon as it is there."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                found = next((line for line in self.lines if text in line), None)
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"no {text!r} from the worker:\n" + "\n".join(self.lines))
                self._news.wait(min(left, 0.5))

    def ready(self) -> Self:
        self.until("ready.")
        return self

    def kill(self) -> None:
        """Kill -9 the worker's parent process alone."""
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout: float = 40.0) -> int:
        """Stop it as a service manager does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def family(self) -> list[int]:
        """Return the worker, then everything that descends from it, its nursery's session included."""
        found = {self.process.pid}
        while True:
            more = {pid for pid, parent in _parents().items() if parent in found} - found
            if not more:
                return [self.process.pid, *sorted(found - {self.process.pid})]
            found |= more

    def _read(self) -> None:
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


def alive(pids: list[int]) -> list[int]:
    """Return those that still run; a zombie does not."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(pid)
    return found


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
