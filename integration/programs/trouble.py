"""Tasks that a worker should not have to run, for workers of the tests."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

from celeriac import App, Queue, Task

LEVELS = Queue("levels", priorities=10)
app = App("trouble", broker=os.environ["TROUBLE_BROKER"], queues=[LEVELS])


def note(path: str, word: object) -> None:
    with Path(path).open("a") as file:
        file.write(f"{word}\n")


@app.task
def kill_yourself(path: str) -> None:
    note(path, "killer")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
async def kill_yourself_soon(path: str) -> None:
    """Run beside others before the end."""
    note(path, "killer")
    await asyncio.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
async def good(number: int) -> int:
    await asyncio.sleep(0.5)
    return number


@app.task
def unserialisable() -> object:
    return threading.Lock()


@app.task
def unspeakable() -> None:
    class Unspeakable(Exception):  # noqa: N818
        def __repr__(self) -> str:
            raise RuntimeError("no repr either")

        __str__ = __repr__

    raise Unspeakable(threading.Lock())


@app.task(queue="levels")
def count(path: str, number: int) -> None:
    note(path, number)
    time.sleep(0.1)  # longer than what is taken ahead


@app.task(queue="levels", bind=True)
def count_twice(self: Task, path: str, number: int) -> None:
    """Note the second attempt only."""
    if self.request.attempt == 1:
        raise self.retry(countdown=0)
    note(path, number)


if os.environ.get("TROUBLE_NEW"):

    @app.task
    def new(number: int) -> int:
        return number
