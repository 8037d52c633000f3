"""arq; ``worker`` in `SETTINGS` holds attributes of its WorkerSettings."""

from __future__ import annotations

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from benchmarks.systems import bodies
from benchmarks.systems.producer import produce
from benchmarks.systems.settings import SETTINGS, URL

LOG = {"version": 1, "disable_existing_loggers": False}
GATHERED = 100
_pool: list[ArqRedis] = []


async def noop(_context: Any) -> None:
    bodies.noop()


async def sleep(_context: Any) -> None:
    await bodies.asleep()


async def spin(_context: Any) -> None:
    bodies.spin()


class WorkerSettings:
    """What the worker reads."""

    functions = (noop, sleep, spin)
    redis_settings = RedisSettings.from_dsn(URL)


for name, value in SETTINGS.get("worker", {}).items():
    setattr(WorkerSettings, name, value)


async def opened() -> None:
    _pool.append(await create_pool(WorkerSettings.redis_settings))


async def one(kind: str, n: int) -> None:
    for _ in range(n):
        await _pool[0].enqueue_job(kind)


async def bulk(kind: str, n: int) -> None:
    """Send concurrently: there is no bulk call."""
    for begin in range(0, n, GATHERED):
        await asyncio.gather(*(_pool[0].enqueue_job(kind) for _ in range(min(GATHERED, n - begin))))


if __name__ == "__main__":
    produce({"one": one, "bulk": bulk}, opened=opened)
