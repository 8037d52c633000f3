"""Celery 5, with its defaults but for what `SETTINGS` says.

``conf``: settings of the app; ``queue``: the default queue's name; ``results``: send them; ``ballast``: as celeriac's.
"""

from __future__ import annotations

from celery import Celery

from benchmarks.systems import bodies
from benchmarks.systems.producer import produce, timed
from benchmarks.systems.settings import RESULTS_URL, SETTINGS, URL, named

BALLAST = [str(number) * 8 for number in range(SETTINGS.get("ballast", 0) * 10_000)]
results = SETTINGS.get("results", False)

app = Celery("bench", broker=URL, backend=RESULTS_URL if results else None)
app.conf.task_default_queue = named(SETTINGS["queue"])
app.conf.broker_connection_retry_on_startup = True
app.conf.update(SETTINGS.get("conf", {}))
kinds = {"noop": bodies.noop, "sleep": bodies.sleep, "spin": bodies.spin}
tasks = {kind: app.task(name=kind, ignore_result=not results)(body) for kind, body in kinds.items()}
tasks["echo"] = app.task(name="echo", ignore_result=False)(bodies.echo)


def one(kind: str, n: int) -> None:
    delay = tasks[kind].delay
    for _ in range(n):
        delay()


def delayed(kind: str, n: int) -> None:
    for _ in range(n):
        tasks[kind].apply_async(countdown=3600)


def round_trips(kind: str, n: int) -> list[float]:
    return timed(lambda number: tasks[kind].delay(number).get(timeout=10), n)


if __name__ == "__main__":
    produce({"one": one, "delayed": delayed, "round_trips": round_trips}, closed=app.close)
