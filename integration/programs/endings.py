"""Tasks that have to be ended, for workers of the tests."""

import asyncio
import os
import time
from pathlib import Path

from celeriac import App

app = App("endings", broker=os.environ["ENDINGS_BROKER"])


def note(path: str, word: str) -> None:
    """Tell the test: one line, in one write."""
    with Path(path).open("a") as file:
        file.write(f"{word}\n")


@app.task
def hold(path: str, seconds: float = 60) -> str:
    note(path, "hold")
    time.sleep(seconds)
    note(path, "held")
    return "held"


@app.task
async def ahold(path: str, seconds: float = 60) -> str:
    note(path, "ahold")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note(path, "cancelled")
        raise
    note(path, "aheld")
    return "aheld"


@app.task(time_limit=1)
def hog(path: str) -> int:
    note(path, "hog")
    return sum(range(10**12))
