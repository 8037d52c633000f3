"""What a run was made on, and how long 5 ms of work are there."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

SECONDS = 0.005
TRIES = 40


def calibrate() -> int:
    """Return how many times `benchmarks.systems.bodies.spin` goes round in `SECONDS`, by the best of several tries."""
    times = 20_000
    return int(times * SECONDS / min(_seconds(times) for _ in range(TRIES)))


def described() -> dict[str, str]:
    """Return the machine, the system and the moment, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{len(os.sched_getaffinity(0))} cores ({_processor()}), {memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _seconds(times: int) -> float:
    value, begin = 0, time.perf_counter()
    for number in range(times):
        value = (value * 31 + number) & 0xFFFFFFFF
    return time.perf_counter() - begin


def load() -> float:
    """Return how many processes wanted to run, on average, in the last minute."""
    return os.getloadavg()[0]
