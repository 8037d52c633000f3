"""The process that makes the executor processes of one worker: fork server, reaper and watchdog in one.

It is started fresh, in a session of its own, and has one thread, no loop and no connection, so that forking it is safe
and a terminal's Ctrl-C reaches neither it nor its children. When its socket closes, the worker is gone (by ``kill -9``
perhaps): it kills its whole process group at once, whatever the children are doing.

    worker -> nursery   (SETUP, setup)   (SPAWN, token) with four descriptors   (KILL, pid)
                        (STACK, pid)
    nursery -> worker   (REFUSED, text)  (SPAWNED, token, pid)  (STILLBORN, token, text)  (ENDED, pid, exit code)
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import threading
import tomllib  # noqa: F401 - as what is imported below
from typing import Any, NamedTuple

from celeriac import configuration, converters, declared, hooks, plugins  # noqa: F401 - for each child, which inherits them
from celeriac.loading import extend_path, load_app
from celeriac.locator import Locator
from celeriac.worker.executors import child
from celeriac.worker.executors.frames import RECEIVE_BYTES, FrameReader, frame
from celeriac.worker.run import user_traceback

SETUP = "setup"
SPAWN = "spawn"
KILL = "kill"
STACK = "stack"
REFUSED = "refused"
SPAWNED = "spawned"
STILLBORN = "stillborn"
ENDED = "ended"
SIGNALS = {KILL: signal.SIGKILL, STACK: child.STACK_SIGNAL}
LANES = 4
_REAP_SECONDS = 1
_SET_CHILD_SUBREAPER = 36


class Birth(NamedTuple):
    """What a new child begins with: its worker's setup, and the descriptors of its lanes."""

    setup: dict[str, Any]
    lanes: list[int]


class Nursery:
    """The server's state: the worker's socket, and the children by pid."""

    def __init__(self, sock: socket.socket) -> None:
        """Serve the worker at the other end of ``sock``."""
        self._sock = sock
        self._frames = FrameReader()
        self._received: list[int] = []
        self._setup: dict[str, Any] = {}
        self._children: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._woken, self._wakes = socket.socketpair()

    def serve(self) -> Birth:
        """Serve until the worker is gone, which ends the process. Returns only in a child."""
        self._woken.setblocking(False)
        self._wakes.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        signal.signal(signal.SIGINT, _nothing)
        signal.signal(signal.SIGTERM, _nothing)
        self._selector.register(self._sock, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in self._selector.select()]
            if self._woken in ready:
                self._reap()
            birth = self._listen() if self._sock in ready else None
            if birth is not None:
                return birth

    def _listen(self) -> Birth | None:
        try:
            data, received, _, _ = socket.recv_fds(self._sock, RECEIVE_BYTES, 8 * LANES)
        except ConnectionError:
            data, received = b"", []
        if not data:
            self._perish()
        self._received += received
        for tag, value in self._frames.feed(data):
            if tag == SETUP:
                self._prepare(value)
            elif tag in SIGNALS and value in self._children:
                os.kill(value, SIGNALS[tag])
            elif tag == SPAWN and (birth := self._spawn(value)):
                return birth
        return None

    def _prepare(self, setup: dict[str, Any]) -> None:
        self._setup = setup
        locator = Locator.from_wire(setup["locator"])
        extend_path(locator)
        with contextlib.suppress(Exception):  # each child would do the same, and will say what is wrong
            plugins.import_own()
        fault = _preload(locator) if setup["preload"] else None
        if fault:
            self._tell(REFUSED, fault)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()  # or each child would write it again
        gc.freeze()  # what is shared with the children stays shared

    def _spawn(self, token: int) -> Birth | None:
        lanes, self._received = self._received[:LANES], self._received[LANES:]
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(STILLBORN, token, f"no process could be forked: {error}")
            pid = -1
        if pid == 0:
            self._forget()
            return Birth(self._setup, lanes)
        if pid > 0:
            self._children.add(pid)
            self._tell(SPAWNED, token, pid)
        for lane in lanes:
            os.close(lane)
        return None

    def _forget(self) -> None:
        """Leave the child nothing of the nursery's, but its deafness to INT and TERM.

        Whoever stops a service may signal all of its processes; the children's end is their worker's to say.
        """
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for mine in (self._sock, self._woken, self._wakes):
            mine.close()
        for received in self._received:
            os.close(received)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(RECEIVE_BYTES)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self._children:  # and no orphan that a task has left behind
                    self._children.remove(pid)
                    self._tell(ENDED, pid, os.waitstatus_to_exitcode(status))

    def _tell(self, *value: object) -> None:
        # a worker that is gone is noticed, and acted upon, where we read
        with contextlib.suppress(ConnectionError):
            self._sock.sendall(frame(value))

    def _perish(self) -> None:
        """Kill the children, reap them lest they stay as zombies, then kill what else they have started."""
        signal.signal(signal.SIGALRM, _kill_group)
        signal.alarm(_REAP_SECONDS)  # one that sleeps in the kernel may be slow to die
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        _kill_group()


def _preload(locator: Locator) -> str | None:
    """Import the app; return why no child should be forked now, if so."""
    try:
        load_app(locator)
    except BaseException as error:  # noqa: BLE001 - an import runs user code
        return user_traceback(error)
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if not threads:
        return None
    return (
        f"importing the app left threads running, which a fork would lose: {', '.join(threads)}; "
        "start them in the app's lifespan, or do not preload"
    )


def _adopt_orphans() -> None:
    """Be the parent of what tasks leave behind, to reap it, where that would be the worker: PID 1 of a container.

    PR_SET_CHILD_SUBREAPER of prctl(2), Linux 3.4.
    """
    if sys.platform != "linux" or os.getppid() != 1:
        return
    import ctypes  # noqa: PLC0415 - costs time at the start, and is needed in containers alone

    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _kill_group(*_: object) -> None:
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _nothing(*_: object) -> None:
    """Handle a signal by doing nothing. Unlike ``SIG_IGN`` it is not handed on to programs that a task starts."""


if __name__ == "__main__":
    _adopt_orphans()
    birth = Nursery(socket.socket(fileno=int(sys.argv[1]))).serve()
    child.main(birth.setup, birth.lanes)
