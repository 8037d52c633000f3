"""Notices children that have work and do not get on with it.

A child that is stopped (state T, by a debugger or a signal that nobody took back) is replaced after ten seconds. One
that says nothing is another matter: from outside a deadlock and a long call that holds the GIL look alike. It is logged
once, with its stack, and killed only where a stall timeout says so.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from celeriac.worker.executors.child_process import ChildProcess
    from celeriac.worker.executors.family import Family

_log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
STOPPED_LOOKS = 10
SILENT_LOOKS = 30


@dataclass(slots=True)
class _Seen:
    """For how many looks a child has been so."""

    stopped: int = 0
    silent: int = 0


class Watch:
    """Looks at the children of one pool once a second. A look takes some 20 us for each that is at work."""

    def __init__(
        self, family: Family, children: Callable[[], Iterable[ChildProcess]], stall_timeout: float | None
    ) -> None:
        """Look at ``children``; kill, by ``family``, one that was silent for ``stall_timeout`` seconds."""
        self._family = family
        self._children = children
        self._stall_looks = None if stall_timeout is None else max(1, round(stall_timeout / LOOK_SECONDS))
        self._seen: dict[int, _Seen] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin."""
        self._loop = loop
        self._timer = loop.call_later(LOOK_SECONDS, self._look)

    def close(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
        before, self._seen = self._seen, {}
        for child in self._children():
            if child.ready and child.pid is not None and not child.idle and not child.condemned:
                seen = self._seen[child.token] = before.get(child.token, _Seen())
                if not self._is_stopped(child, child.pid, seen):
                    self._listen(child, seen)

    def _is_stopped(self, child: ChildProcess, pid: int, seen: _Seen) -> bool:
        if _state_of(pid) not in ("T", "t"):
            seen.stopped = 0
            return False
        seen.stopped += 1
        if seen.stopped == STOPPED_LOOKS:
            _log.error("executor %d has been stopped for %.0f s; killing it", pid, seen.stopped * LOOK_SECONDS)
            self._family.kill(child)
        return True

    def _listen(self, child: ChildProcess, seen: _Seen) -> None:
        if child.heard:
            child.heard, seen.silent = False, 0
            return
        seen.silent += 1
        if seen.silent == 1:
            child.ping()
        if seen.silent == self._stall_looks:
            _log.error("%s; killing it", _story(child, seen))
            self._family.kill(child)
        elif seen.silent == SILENT_LOOKS:
            _log.warning("%s; its stack goes to standard error", _story(child, seen))
            self._family.show_stack(child)


def _story(child: ChildProcess, seen: _Seen) -> str:
    tasks = sorted({job.assignment.task for inbox in (child.sync, child.coroutines) for job in inbox.jobs.values()})
    return f"executor {child.pid} has been silent for {seen.silent * LOOK_SECONDS:.0f} s, at work on {', '.join(tasks)}"


def _state_of(pid: int) -> str:
    """Return the kernel's letter for what a process does; nothing where it cannot be asked."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2][:1]
    except OSError:
        return ""
