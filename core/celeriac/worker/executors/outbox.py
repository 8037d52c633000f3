"""What a child writes to its worker."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from celeriac.worker.executors.frames import frame

if TYPE_CHECKING:
    import socket

# the tags of the frames, each a tuple that begins with its tag
READY = "ready"
FAILED = "failed"  # text: why the child cannot work
START = "start"  # seq
DONE = "done"  # seq, outcome
PUBLISH = "publish"  # number, messages
PROGRESS = "progress"  # seq, body, content type, content encoding
PONG = "pong"  # the loop is alive
HEAVY = "heavy"  # KiB: the child is above its memory limit


class Outbox:
    """The child's one way to its worker, for all of its threads. Writing blocks while the worker does not read."""

    def __init__(self, sock: socket.socket) -> None:
        """Write to ``sock``."""
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, *values: tuple[object, ...]) -> None:
        """Write ``values``, in one piece, before returning. A process that cannot, ends here."""
        data = b"".join(map(frame, values))
        try:
            with self._lock:
                self._sock.sendall(data)
        except OSError:
            os._exit(1)  # the worker is gone, or a task has closed our descriptors: nobody can be told anything more
