"""Jobs over a packet socket: one packet is one job, and whoever reads the packet owns the job.

The kernel hands each packet to one reader only, so that the worker can take back what no executor has read, whatever
the executor is doing, and what is left in the socket of a dead one is known never to have begun.
"""

from __future__ import annotations

import os
import socket
import struct
import tempfile
from array import array
from typing import IO, NamedTuple

# where there are no connected packet sockets (macOS), a pair of datagram sockets keeps the order and the borders too
_KIND = getattr(socket, "SOCK_SEQPACKET", socket.SOCK_DGRAM)
_SEQ = struct.Struct("=Q")
_BODY_BYTES = 60 * 1024
_RECEIVE_BYTES = 64 * 1024
_ANCILLARY_BYTES = socket.CMSG_SPACE(array("i").itemsize)


class Packet(NamedTuple):
    """One job as it travels. A large one lies in an unlinked file, in memory where there are such, sent as ``file``."""

    data: bytes
    file: int | None = None

    @property
    def seq(self) -> int:
        """The job's number."""
        return int(_SEQ.unpack_from(self.data)[0])

    def load(self) -> bytes:
        """Return what was sent; the file, if any, is closed."""
        if self.file is None:
            return self.data[_SEQ.size :]
        with open(self.file, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            file.seek(0)
            return file.read()

    def close(self) -> None:
        """Drop it without reading."""
        if self.file is not None:
            os.close(self.file)


END = Packet(b"")


def inbox_pair() -> tuple[socket.socket, socket.socket]:
    """Return the sending end, which does not block, and the receiving end, which the executor waits on."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, _KIND)
    sender.setblocking(False)
    receiver.setblocking(True)  # whatever socket.setdefaulttimeout() says
    return sender, receiver


def send(sender: socket.socket, seq: int, data: bytes) -> bool:
    """Send a job as one packet; return whether there was room, or memory, for it now."""
    head = _SEQ.pack(seq)
    try:
        if len(data) <= _BODY_BYTES:
            sender.send(head + data)
            return True
        with _unlinked_file() as file:
            file.write(data)
            file.flush()
            socket.send_fds(sender, [head], [file.fileno()])
    except OSError:
        return False
    return True


def send_again(sender: socket.socket, packet: Packet) -> bool:
    """Send on a packet that was received and not read; return whether there was room, and then it is closed."""
    try:
        socket.send_fds(sender, [packet.data], [] if packet.file is None else [packet.file])
    except OSError:
        return False
    packet.close()
    return True


def send_end(sender: socket.socket) -> None:
    """Tell one reader that nothing more comes after what is there already."""
    sender.send(b"")


def receive(receiver: socket.socket, *, wait: bool = True) -> Packet | None:
    """Return the next packet, or `END` when no more come; ``None`` when none is there and it is not to ``wait``."""
    try:
        data, ancillary, _, _ = receiver.recvmsg(_RECEIVE_BYTES, _ANCILLARY_BYTES, 0 if wait else socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    if not ancillary:
        return Packet(data) if data else END
    (file,) = array("i", ancillary[0][2])
    os.set_inheritable(file, False)
    return Packet(data, file)


def _unlinked_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("celeriac-job"), "w+b")  # noqa: PTH123 - a descriptor has no path
    return tempfile.TemporaryFile()
