"""celeriac, with its defaults but for what `SETTINGS` says.

``queue``: the default queue's name; ``app``: settings of the App; ``task``: options of every task; ``queues``: so many
more queues, used in turn; ``ballast``: MB of data that the module holds, as an app with large libraries does.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

from benchmarks.systems import bodies
from benchmarks.systems.producer import produce, timed
from benchmarks.systems.settings import SETTINGS, URL, named
from celeriac import App, Queue

AT_ONCE = 10_000
GATHERED = 500
THREADS = 8
BALLAST = [str(number) * 8 for number in range(SETTINGS.get("ballast", 0) * 10_000)]  # about 100 bytes each

options: dict[str, Any] = SETTINGS.get("task", {})
default = named(SETTINGS["queue"])
queues = [f"{default}_{number}" for number in range(SETTINGS.get("queues", 0))]
app = App(
    "bench", broker=URL, default_queue=default, queues=[Queue(name) for name in queues], **SETTINGS.get("app", {})
)
tasks: dict[str, Any] = {
    "noop": app.task(name="noop", **options)(bodies.noop),
    "sleep": app.task(name="sleep", **options)(bodies.asleep),
    "spin": app.task(name="spin", **options)(bodies.spin),
    "echo": app.task(name="echo")(bodies.echo),
}


def one(kind: str, n: int) -> None:
    delay = tasks[kind].delay
    for _ in range(n):
        delay()


def bulk(kind: str, n: int) -> None:
    names = itertools.cycle(queues)
    for begin in range(0, n, AT_ONCE):
        more = min(AT_ONCE, n - begin)
        if not queues:
            tasks[kind].delay_many([()] * more)
            continue
        with app.batch():
            for name in itertools.islice(names, more):
                tasks[kind].apply_async(queue=name)


def batch(kind: str, n: int) -> None:
    with app.batch():
        one(kind, n)


async def gather(kind: str, n: int) -> None:
    task = tasks[kind]
    for begin in range(0, n, GATHERED):
        await asyncio.gather(*(task.adelay() for _ in range(min(GATHERED, n - begin))))


def threads(kind: str, n: int) -> None:
    senders = [threading.Thread(target=one, args=(kind, n // THREADS)) for _ in range(THREADS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def deferred(kind: str, n: int) -> None:
    """Send one by one; what counts is the time until every one is confirmed."""
    one(kind, n)
    app.flush()


def delayed(kind: str, n: int) -> None:
    """Send tasks that are due in an hour."""
    for begin in range(0, n, AT_ONCE):
        with app.batch():
            for _ in range(min(AT_ONCE, n - begin)):
                tasks[kind].apply_async(countdown=3600)


def round_trips(kind: str, n: int) -> list[float]:
    return timed(lambda number: tasks[kind].delay(number).get(timeout=10), n)


if __name__ == "__main__":
    ways = (one, bulk, batch, gather, threads, deferred, delayed, round_trips)
    produce({way.__name__: way for way in ways}, closed=app.close)
