"""What the tasks of every system do: the same for all."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TypeVar

from benchmarks.ticks import tick

SLEEP = 0.01
SPINS = int(os.environ.get("BENCH_SPINS", "50000"))  # that take 5 ms here; see `benchmarks.machine.calibrate`

T = TypeVar("T")


def noop() -> None:
    tick()


async def anoop() -> None:
    tick()


def sleep() -> None:
    time.sleep(SLEEP)
    tick()


async def asleep() -> None:
    await asyncio.sleep(SLEEP)
    tick()


def spin(times: int = SPINS) -> None:
    value = 0
    for number in range(times):
        value = (value * 31 + number) & 0xFFFFFFFF
    tick()


async def aspin() -> None:
    spin()


def echo(value: T) -> T:
    return value


async def aecho(value: T) -> T:
    return value
