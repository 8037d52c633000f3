"""The program of the main job's tests: its broker comes from the environment."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from celeriac import App

app = App("sums", broker=os.environ["SUMS_BROKER"])


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def note(path: str, number: int | str) -> int | str:
    """Leave a line in a file, so that a test can count runs."""
    with Path(path).open("a") as file:
        file.write(f"{number}\n")
    return number


@app.task
def hold(path: str, seconds: float) -> None:
    """Say that it has begun, then keep the GIL."""
    Path(path).write_text(str(os.getpid()))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1_000_000))


@app.task
def wait(path: str, gate: str) -> None:
    """Say that it has begun, then wait until the gate, a file, is there."""
    Path(path).write_text(str(os.getpid()))
    while not Path(gate).exists():
        time.sleep(0.01)


@app.task
async def nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds
