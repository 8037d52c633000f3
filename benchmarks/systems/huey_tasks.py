"""Huey on Redis or SQLite, with its defaults but for what `SETTINGS` says.

``storage``: ``redis`` or ``sqlite``; ``results``: keep them; ``options``: of the storage.
"""

from __future__ import annotations

from huey import RedisHuey, SqliteHuey

from benchmarks.systems import bodies
from benchmarks.systems.producer import produce
from benchmarks.systems.settings import SETTINGS, URL

common = {"results": SETTINGS.get("results", True), **SETTINGS.get("options", {})}
if SETTINGS["storage"] == "redis":
    huey = RedisHuey("bench", url=URL, **common)
else:
    huey = SqliteHuey("bench", filename=URL.removeprefix("sqlite:///"), **common)
kinds = {"noop": bodies.noop, "sleep": bodies.sleep, "spin": bodies.spin}
tasks = {kind: huey.task(name=kind)(body) for kind, body in kinds.items()}


def one(kind: str, n: int) -> None:
    task = tasks[kind]
    for _ in range(n):
        task()


if __name__ == "__main__":
    produce({"one": one})
