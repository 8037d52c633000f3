"""``celeriac worker --reload``: a worker that starts again when a source file has changed. For developing.

This process only watches; the worker is a process of its own, started by the same command line. At a change the old
one is told to stop, as by TERM: it takes nothing more, gives back what has not begun, and finishes what runs within
its grace. The new one starts beside it, so that a long task holds up nobody. A file that cannot be compiled changes
nothing: the worker goes on as it was until the next change.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from celeriac.cli import exits
from celeriac.cli.signals import handled
from celeriac.errors import ConfigurationError, WorkerFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

VARIABLE = "CELERIAC_RELOADER"
SUFFIX = ".py"
PROJECT_FILE = "pyproject.toml"
STEP_MS, DEBOUNCE_MS = 50, 400
_SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)


def is_reloaded() -> bool:
    """Return whether this process is the worker of a reloader, and not the reloader itself.

    Such a worker stops, as by TERM, when its reloader is killed; where the system can see to that.
    """
    if os.environ.get(VARIABLE) != str(os.getppid()):
        return False
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENTS_DEATH, signal.SIGTERM)
    return True


def reload(program: str | None, *, as_json: bool) -> int:
    """Run the command line of this process again and again, without this, until a signal.

    Args:
        program: the file of the App, where the command line names one.
        as_json: tell what happens as JSON, one object a line.

    Raises:
        ConfigurationError: `watchfiles` is not installed, or the system has no process groups.
        WorkerFailed: files cannot be watched.
    """
    if os.name != "posix":
        raise ConfigurationError("--reload needs process groups, which this system does not have")
    try:
        import watchfiles  # noqa: F401, PLC0415 - an extra
    except ImportError:
        text = "--reload needs 'watchfiles', which is not installed; pip install 'celeriac[reload]'"
        raise ConfigurationError(text) from None
    here = Path.cwd()
    folders = [here]
    if program is not None and not Path(program).resolve().is_relative_to(here):
        folders.append(Path(program).resolve().parent)
    return Reloader([sys.executable, *sys.orig_argv[1:]], folders, as_json=as_json).run()


class Reloader:
    """Keeps one worker process of the newest code that can be compiled."""

    def __init__(self, command: Sequence[str], folders: Sequence[Path], *, as_json: bool) -> None:
        """Start nothing.

        Args:
            command: of the worker.
            folders: watched, with all that is in them.
            as_json: tell what happens as JSON.
        """
        self._command = command
        self._folders = folders
        self._as_json = as_json
        self._news: SimpleQueue[int | subprocess.Popen[bytes] | set[Path] | Exception] = SimpleQueue()
        self._worker: subprocess.Popen[bytes] | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []
        self._broken: set[Path] = set()
        self._stopping = False
        self._over = threading.Event()

    def run(self) -> int:
        """Watch until a signal, and until every worker has ended after it; raises as `reload`."""
        self._tell(f"watching {', '.join(map(str, self._folders))}")
        watcher = threading.Thread(target=self._watch, name="celeriac-watch", daemon=True)
        with handled(self._told, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._start()
            watcher.start()
            try:
                while not self._stopping or self._worker is not None or self._leaving:
                    self._take(self._news.get())
            finally:
                self._over.set()
                self._stop()
        return exits.OK

    def _take(self, news: int | subprocess.Popen[bytes] | set[Path] | Exception) -> None:
        match news:
            case int():
                self._stop()
            case subprocess.Popen():
                self._ended(news)
            case set():
                self._changed(news)
            case _:
                raise WorkerFailed(f"cannot watch {', '.join(map(str, self._folders))} any more: {news}") from news

    def _changed(self, paths: set[Path]) -> None:
        if self._stopping:
            return
        problems = {path: problem for path in self._broken | paths if (problem := _problem(path))}
        self._broken = set(problems)
        if problems:
            kept = "the worker goes on as it was" if self._worker else "there is no worker"
            self._tell(f"{'; '.join(problems.values())}; {kept}, waiting for the next change")
            return
        self._tell(f"{', '.join(sorted(map(self._short, paths)))} changed; starting again")
        old, self._worker = self._worker, None
        if old is not None:
            self._leaving.append(old)
            old.terminate()
        self._start()

    def _start(self) -> None:
        """Start a worker in a process group of its own: what a terminal sends to ours, we pass on once."""
        if self._stopping:
            return
        environment = {**os.environ, VARIABLE: str(os.getpid())}
        worker = subprocess.Popen(self._command, env=environment, process_group=0)  # noqa: S603 - our own command line
        threading.Thread(target=self._await_end, args=(worker,), daemon=True).start()
        self._worker = worker

    def _await_end(self, worker: subprocess.Popen[bytes]) -> None:
        worker.wait()
        self._news.put(worker)

    def _ended(self, worker: subprocess.Popen[bytes]) -> None:
        if worker in self._leaving:
            self._leaving.remove(worker)
        else:
            self._worker = None
            if not self._stopping:
                self._tell(f"the worker ended with {worker.returncode}; waiting for the next change")

    def _watch(self) -> None:
        from watchfiles import DefaultFilter, watch  # noqa: PLC0415 - an extra

        usual = DefaultFilter()
        try:
            for changes in watch(
                *self._folders,
                watch_filter=lambda change, path: _is_source(path) and usual(change, path),
                debounce=DEBOUNCE_MS,
                step=STEP_MS,
                stop_event=self._over,
                ignore_permission_denied=True,
            ):
                self._news.put({Path(path) for _, path in changes})
        except Exception as error:  # noqa: BLE001 - carried to the main thread
            self._news.put(error)

    def _told(self, number: int, _frame: FrameType | None) -> None:
        self._news.put(int(number))

    def _stop(self) -> None:
        """Have the worker stop; those that leave were told already. The second time leaves none of them any grace."""
        workers = [self._worker, *self._leaving] if self._stopping else [self._worker]
        self._stopping = True
        for worker in filter(None, workers):
            worker.terminate()

    def _tell(self, text: str) -> None:
        line = json.dumps({"reloader": text}, ensure_ascii=False) if self._as_json else f"celeriac worker: {text}"
        print(line, file=sys.stderr, flush=True)

    def _short(self, path: Path) -> str:
        near = next((folder for folder in self._folders if path.is_relative_to(folder)), None)
        return str(path.relative_to(near) if near else path)


def _is_source(path: str) -> bool:
    return path.endswith(SUFFIX) or Path(path).name == PROJECT_FILE


def _problem(path: Path) -> str | None:
    """Return why a changed file cannot be used, if so; one that is gone is no problem."""
    if path.suffix != SUFFIX:
        return None
    try:
        source = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, str(path), "exec", dont_inherit=True)
    except FileNotFoundError:
        return None
    except SyntaxError as error:
        return f"{path}:{error.lineno}: {type(error).__name__}: {error.msg}"
    except (OSError, ValueError) as error:
        return f"{path}: {error}"
    return None
