"""The worker's side of its nursery."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Protocol

from celeriac.worker.executors import nursery
from celeriac.worker.executors.frames import RECEIVE_BYTES, FrameReader, frame

if TYPE_CHECKING:
    from collections.abc import Sequence


CLOSE_SECONDS = 2


class NurseryListener(Protocol):
    """Who is told what happens in a nursery, on the worker's loop."""

    def spawned(self, token: int, pid: int) -> None:
        """The child asked for as ``token`` has begun."""

    def stillborn(self, token: int, text: str) -> None:
        """The child asked for as ``token`` could not be forked."""

    def ended(self, pid: int, code: int) -> None:
        """A child has ended: its exit code, or a signal's number below zero."""

    def refused(self, text: str) -> None:
        """The app cannot be preloaded; the text is for a person."""

    def nursery_lost(self) -> None:
        """The nursery itself has ended unasked, and all of its children with it."""


class NurseryClient:
    """Starts a nursery, asks it for children, and hears of their ends.

    Attributes:
        pid: the nursery's; it is also its children's process group.
    """

    def __init__(self, setup: dict[str, Any], listener: NurseryListener) -> None:
        """Start the process, on the running loop. ``setup`` is for the children; see `celeriac.worker.executors.child`.

        Raises:
            OSError: no process could be started.
        """
        self._listener = listener
        self._frames = FrameReader()
        self._gone = asyncio.Event()
        self._closing = False
        self._sock, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and our own module
                [sys.executable, "-P", "-m", nursery.__name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock, self._heard)
        self._ask((nursery.SETUP, setup))

    def spawn(self, token: int, lanes: Sequence[int]) -> None:
        """Ask for a child that owns copies of ``lanes``; the listener hears of it as ``token``."""
        self._ask((nursery.SPAWN, token), lanes)

    def kill(self, pid: int) -> None:
        """Kill a child, which the nursery has not reaped: no other process can have its pid."""
        self._ask((nursery.KILL, pid))

    def show_stack(self, pid: int) -> None:
        """Have a child write its stack to standard error."""
        self._ask((nursery.STACK, pid))

    async def close(self) -> None:
        """End the nursery and what is left of its children; return when it is gone."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._gone.wait()
        except TimeoutError:  # it is stopped, perhaps
            self._lost()

    def _ask(self, value: object, descriptors: Sequence[int] = ()) -> None:
        # a nursery that is gone, or does not read, is noticed where we listen
        with contextlib.suppress(OSError):
            socket.send_fds(self._sock, [frame(value)], descriptors)

    def _heard(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        for tag, *values in self._frames.feed(data):
            if tag == nursery.SPAWNED:
                self._listener.spawned(*values)
            elif tag == nursery.STILLBORN:
                self._listener.stillborn(*values)
            elif tag == nursery.ENDED:
                self._listener.ended(*values)
            elif tag == nursery.REFUSED:
                self._listener.refused(*values)
        if not data:
            self._lost()

    def _lost(self) -> None:
        self._loop.remove_reader(self._sock)
        self._sock.close()
        # not yet waited for, it keeps its pid, and so the name of the group, from being given to anyone else
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._gone.set()
        if not self._closing:
            self._listener.nursery_lost()
