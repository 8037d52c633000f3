"""The App whose tasks are ended, in the children of a worker and here."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

from celeriac import App, SoftTimeLimitExceeded

app = App("ending_app", broker=os.environ["ENDING_BROKER"])
NOTES = Path(os.environ["ENDING_NOTES"])


def note(word):
    """Tell the test that something has happened: one line, in one write."""
    with NOTES.open("a") as file:
        file.write(f"{word}\n")


@app.task
def add(x, y):
    return x + y


@app.task
def pid():
    return os.getpid()


@app.task
def wait(word):
    note(word)
    time.sleep(60)


@app.task
async def await_(word):
    note(word)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note(f"{word} cancelled")
        raise


@app.task
async def nap(word, seconds):
    note(word)
    await asyncio.sleep(seconds)
    return os.getpid()


@app.task
async def stubborn(word):
    note(word)
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@app.task(time_limit=0.5)
def hog():
    note("hog")
    return sum(range(10**12))


@app.task(soft_time_limit=0.2)
def tidy():
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        return "tidied up"


@app.task(soft_time_limit=0.1, autoretry_for=(SoftTimeLimitExceeded,), retry_backoff=0.01, max_retries=1)
async def atry():
    note("atry")
    await asyncio.sleep(60)


@app.task(acks_late=False, time_limit=0.2)
def early():
    time.sleep(60)


@app.task(bind=True, track_started=True)
def report(self, fifo):
    self.progress(3, 10, word="three")
    return Path(fifo).read_text()


@app.task(track_started=True, ignore_result=True)
def silent():
    note("silent")
