"""Our side of a Redis that is shared with Celery's workers."""

from __future__ import annotations

import os
import time

from celeriac import App

app = App("shared", broker=os.environ["SUMS_BROKER"], fleet="celery")


@app.task(name="shared.add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="shared.fail")
def fail() -> None:
    raise ValueError("boom", 42)


@app.task(name="shared.note", ignore_result=True)
def note(path: str, number: int, seconds: float = 0.0) -> None:
    """Take some time, then leave one line, written at once: who, and which."""
    time.sleep(seconds)
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(file, f"celeriac {number}\n".encode())
    os.close(file)


@app.task(name="shared.hold", ignore_result=True)
def hold(path: str, number: int, seconds: float) -> None:
    """Leave a line at the beginning and at the end."""
    note(path, number)
    time.sleep(seconds)
    note(path, -number)
