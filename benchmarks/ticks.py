"""How the tasks of every system say that they ran: a count and a moment in a shared file, without a lock or a call.

Each thread of each process claims a slot of the file once, under a lock, and from then on writes only there.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from _thread import get_native_id
from pathlib import Path
from typing import NamedTuple

SLOTS = 8192
SLOT = struct.Struct("qqd")  # process, count, moment; of the first slot only the count is used: of claimed slots
VARIABLE = "BENCH_TICKS"

_map: mmap.mmap | None = None
_slots: dict[int, list[int]] = {}  # by thread: offset, process, count


class Ticks(NamedTuple):
    """What ran: how many tasks, in which processes, and when the last one did, by the monotonic clock."""

    tasks: int
    processes: frozenset[int]
    last: float


def create(path: Path) -> None:
    """Make an empty file of ticks."""
    path.write_bytes(bytes(SLOTS * SLOT.size))


def tick() -> None:
    """Say that a task has run in this thread."""
    slot = _slots.get(get_native_id())
    if slot is None:
        slot = _claim()
    slot[2] += 1
    SLOT.pack_into(_map, slot[0], slot[1], slot[2], time.monotonic())  # type: ignore[arg-type]


def read(path: Path) -> Ticks:
    """Return what ran so far."""
    data = path.read_bytes()
    claimed = SLOT.unpack_from(data)[1]
    slots = list(SLOT.iter_unpack(data[SLOT.size : (claimed + 1) * SLOT.size]))
    return Ticks(
        sum(count for _, count, _ in slots),
        frozenset(process for process, count, _ in slots if count),
        max((moment for _, _, moment in slots), default=0.0),
    )


def _claim() -> list[int]:
    global _map  # noqa: PLW0603 - the state of a counter
    with Path(os.environ[VARIABLE]).open("r+b") as file:
        if _map is None:
            _map = mmap.mmap(file.fileno(), 0)
        fcntl.flock(file, fcntl.LOCK_EX)
        number = SLOT.unpack_from(_map)[1] + 1
        SLOT.pack_into(_map, 0, 0, number, 0.0)
        fcntl.flock(file, fcntl.LOCK_UN)  # the map has a descriptor of its own, which would hold it
    slot = _slots[get_native_id()] = [number * SLOT.size, os.getpid(), 0]
    return slot


def _forget() -> None:
    global _map  # noqa: PLW0603
    _map = None
    _slots.clear()


os.register_at_fork(after_in_child=_forget)
