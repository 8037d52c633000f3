"""The doorbell: a datagram socket a process, rung by other processes after they have committed.

A ring says what kinds of things changed, one letter each; it carries no data and may be lost, as those who sleep
look at ``PRAGMA data_version`` four times a second beside it.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

MESSAGES = "m"
HELD = "h"  # within the process only: a claim set a lease that a sleeper may want to wait for
SIGNALS = "s"
REVOCATIONS = "v"
RESULTS = "r"
EVERYTHING = frozenset({MESSAGES, HELD, SIGNALS, REVOCATIONS, RESULTS})

SUFFIX = ".bell"
DESCRIPTORS = Path("/proc/self/fd")
LONGEST_RING = 64
LONGEST_ADDRESS = 100  # sun_path holds 104 bytes on macOS, 108 on Linux


class Doorbell:
    """This process's socket in the folder, and the way to those of the others.

    Attributes:
        deaf: the folder's path is too long for a socket's address, and the system has no way around it.
    """

    def __init__(self, folder: Path) -> None:
        """Hang it up in ``folder``, which exists.

        Raises:
            OSError: the folder is gone or cannot be written.
        """
        self._folder = folder
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # an address through /proc is short however long the path is
        self._way = DESCRIPTORS / str(self._descriptor) if DESCRIPTORS.is_dir() else folder
        self.deaf = len(bytes(self._way / self._name)) > LONGEST_ADDRESS
        if not self.deaf:
            self._bind()
            self.ring(set())  # takes down what killed processes have left

    def _bind(self) -> None:
        try:
            self._socket.bind(str(self._way / self._name))
        except OSError:
            self.forget()
            raise

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def answer(self) -> set[str]:
        """Return the kinds that were rung since the last call."""
        kinds: set[str] = set()
        while True:
            try:
                kinds.update(self._socket.recv(LONGEST_RING).decode("ascii", "replace"))
            except BlockingIOError:
                return kinds

    def ring(self, kinds: set[str]) -> None:
        """Ring at every other process; sockets of dead ones are taken down."""
        if self.deaf:
            return
        text = "".join(kinds).encode()
        for name in self.others():
            try:
                self._socket.sendto(text, str(self._way / name))
            except ConnectionRefusedError:
                (self._folder / name).unlink(missing_ok=True)
            except OSError:
                continue  # full: rings are waiting there; gone: nobody to wake; not ours to write: it will look itself

    def others(self) -> list[str]:
        """Return the names of the other sockets in the folder."""
        try:
            names = os.listdir(self._folder)  # noqa: PTH208  # once a commit, and only names are wanted
        except FileNotFoundError:
            return []
        return [name for name in names if name.endswith(SUFFIX) and name != self._name]

    def close(self) -> None:
        """Take it down."""
        self.forget()
        (self._folder / self._name).unlink(missing_ok=True)

    def forget(self) -> None:
        """Close the descriptors only: in a forked child, where the socket is still the parent's."""
        self._socket.close()
        os.close(self._descriptor)
