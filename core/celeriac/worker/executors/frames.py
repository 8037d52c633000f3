"""Plain values over a stream socket: each is marshalled, with its length before it.

Marshal is the fastest codec of the standard library, and both ends are one interpreter of one version; nothing but
plain data can come out of it.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    import socket

_LENGTH = struct.Struct("=I")
_PLAIN = (bool, int, float, str, bytes, type(None))
RECEIVE_BYTES = 256 * 1024


def frame(value: Any) -> bytes:
    """Return ``value`` as one frame."""
    data = marshalled(value)
    return _LENGTH.pack(len(data)) + data


def marshalled(value: Any) -> bytes:
    """Return ``value`` marshalled; what marshal cannot carry (it may come from a foreign message) is made plain."""
    try:
        return marshal.dumps(value)
    except ValueError:
        return marshal.dumps(plain(value))


def plain(value: Any) -> Any:
    """Return ``value`` with subclasses as their base, mappings as dicts, moments in ISO 8601, and the rest as text."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {plain(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | float):
        return float(value) if isinstance(value, float) else int(value)
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value)


class FrameReader:
    """Puts frames together from the pieces in which they arrive."""

    __slots__ = ("_partial",)

    def __init__(self) -> None:
        """Start between two frames."""
        self._partial = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Any]:
        """Return the values that ``data`` completes, in order."""
        if not self._partial:
            values, used = _parse(data)
            self._partial += data[used:]
            return values
        self._partial += data
        with memoryview(self._partial) as view:
            values, used = _parse(view)
        del self._partial[:used]
        return values


def _parse(data: bytes | memoryview) -> tuple[list[Any], int]:
    values = []
    start, size, header = 0, len(data), _LENGTH.size
    while start + header <= size:
        (length,) = _LENGTH.unpack_from(data, start)
        end = start + header + length
        if end > size:
            break
        values.append(marshal.loads(data[start + header : end]))  # noqa: S302 - written by this worker's own processes
        start = end
    return values, start


class FrameWriter:
    """Sends what is appended in one turn of the loop with one call, and never blocks the loop.

    What the socket does not take waits here; a peer that is gone is the business of who watches its process, so that
    what cannot be sent is dropped.
    """

    __slots__ = ("_buffer", "_closed", "_loop", "_pending", "_sock", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        """Write to ``sock``, which must not block, from ``loop``'s thread only."""
        self._loop = loop
        self._sock = sock
        self._buffer = bytearray()
        self._pending = False
        self._waiting = False
        self._closed = False

    def send(self, value: object) -> None:
        """Append one frame, to be sent at the end of this turn of the loop."""
        if self._closed:
            return
        self._buffer += frame(value)
        if not self._pending:
            self._pending = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Drop what waits, and leave the loop. The socket is its owner's to close, afterwards."""
        self._closed = True
        self._buffer.clear()
        self._wait_for_room(False)

    def _flush(self) -> None:
        if self._closed:
            return
        try:
            sent = self._sock.send(self._buffer)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self._buffer)
        del self._buffer[:sent]
        self._pending = bool(self._buffer)
        self._wait_for_room(self._pending)

    def _wait_for_room(self, wait: bool) -> None:  # noqa: FBT001 - a switch
        if wait and not self._waiting:
            self._loop.add_writer(self._sock, self._flush)
        elif self._waiting and not wait:
            self._loop.remove_writer(self._sock)
        self._waiting = wait
