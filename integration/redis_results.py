"""A result store on Redis for a test: opened, with records to put and a bound on waiting."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from celeriac.clock import SystemClock
from celeriac.results import ResultRecord
from celeriac.states import SUCCESS
from celeriac_redis.store import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    import redis

LONGEST = 15  # seconds that anything here may take


@asynccontextmanager
async def opened(*urls: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(urls, clock=SystemClock())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def done(name: object, **options: object) -> ResultRecord:
    return ResultRecord(**{"task_id": str(name), "attempt": 1, "state": SUCCESS, "body": b'{"value": 1}', **options})


async def all_of(store: RedisStore, ids: Iterable[str]) -> list[str]:
    async with asyncio.timeout(LONGEST):
        return sorted([one.task_id async for one in store.wait([*ids])])


def subscribed(client: redis.Redis) -> int:
    return len(client.pubsub_channels())
