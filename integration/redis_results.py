"""A result store on Redis for a test: opened, with records to put and a bound on waiting."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from celeriac.clock import SystemClock
from celeriac.results import ResultRecord
from celeriac.states import SUCCESS
from celeriac.testing.conformance.case import eventually
from celeriac_redis.store import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    import redis
    from redis_server import RedisServer

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


async def all_of(store: RedisStore, ids: Iterable[str], longest: float = LONGEST) -> list[str]:
    async with asyncio.timeout(longest):
        return sorted([one.task_id async for one in store.wait([*ids])])


async def until_subscribed(server: RedisServer, count: int) -> None:
    with server.client() as watching:
        await eventually(partial(asyncio.to_thread, subscribed, watching), lambda found: found == count)


def subscribed(client: redis.Redis) -> int:
    return len(client.pubsub_channels())
