"""The program of the storm: tasks that leave a line where a test can count it."""

from __future__ import annotations

import asyncio
import os
import time

from celeriac import App

app = App("storm", broker=os.environ["SUMS_BROKER"], ignore_result=True)


@app.task
def note(path: str, number: int, seconds: float = 0.0) -> None:
    """Take some time, then leave one line, written at once."""
    time.sleep(seconds)
    _write(path, number)


@app.task
async def anote(path: str, number: int) -> None:
    _write(path, number)


@app.task
async def anap(path: str, number: int, seconds: float) -> None:
    """Leave a line, then sleep."""
    _write(path, number)
    await asyncio.sleep(seconds)


@app.task
def hold(path: str, number: int, seconds: float) -> None:
    """Leave a line, then keep the GIL."""
    _write(path, number)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1_000_000))
    _write(path, -number)


def _write(path: str, number: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, f"{number}\n".encode())
    finally:
        os.close(file)
