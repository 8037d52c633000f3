"""streaQ; ``worker`` in `SETTINGS` holds arguments of its Worker, ``task`` options of its tasks."""

from __future__ import annotations

from typing import Any

from streaq import Worker

from benchmarks.systems import bodies
from benchmarks.systems.producer import produce
from benchmarks.systems.settings import SETTINGS, URL

AT_ONCE = 500

worker: Any = Worker(redis_url=URL, **SETTINGS.get("worker", {}))
options = {"silent": True, **SETTINGS.get("task", {})}
kinds = {"noop": bodies.anoop, "sleep": bodies.asleep, "spin": bodies.aspin}
tasks = {kind: worker.task(name=kind, **options)(body) for kind, body in kinds.items()}


async def one(kind: str, n: int) -> None:
    async with worker:
        for _ in range(n):
            await tasks[kind].enqueue()


async def bulk(kind: str, n: int) -> None:
    async with worker:
        for begin in range(0, n, AT_ONCE):
            await worker.enqueue_many([tasks[kind].enqueue() for _ in range(min(AT_ONCE, n - begin))])


if __name__ == "__main__":
    produce({"one": one, "bulk": bulk})
