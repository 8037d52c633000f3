"""Redis keeps the result-store contract, and what it does beyond: connections, keys, limits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
import redis
from redis_results import all_of, done, opened, subscribed

from celeriac.errors import TransportError
from celeriac.states import STARTED, SUCCESS
from celeriac.testing import ResultStoreContract
from celeriac.testing.conformance.case import eventually
from celeriac_redis.errors import KeyOfAnotherType
from celeriac_redis.results.line import SubscribedLine
from celeriac_redis.store import RedisStore

if TYPE_CHECKING:
    from redis_server import RedisServer


class TestRedisStore(ResultStoreContract):
    store_class = RedisStore

    @pytest.fixture
    def store_urls(self, redis_url: str) -> list[str]:
        return [redis_url]


class TestRedisStoreInAFleet(ResultStoreContract):
    store_class = RedisStore

    @pytest.fixture
    def store_urls(self, redis_url: str) -> list[str]:
        return [f"{redis_url}&fleet=celery"]


# -- connections


def test_a_thousand_that_wait_share_one_connection(redis_server: RedisServer):
    async def live() -> None:
        with redis_server.client() as watching:
            before = watching.info("clients")["connected_clients"]
            async with opened(redis_server.url) as store:
                ids = [str(n) for n in range(1000)]
                await store.sent(ids)
                waiting = [asyncio.create_task(all_of(store, [one])) for one in ids]
                await eventually(lambda: asyncio.to_thread(subscribed, watching), lambda count: count == 1000)
                assert watching.info("clients")["connected_clients"] - before <= 3
                await store.put([done(one) for one in ids])
                assert [one for (one,) in await asyncio.gather(*waiting)] == ids
                await eventually(lambda: asyncio.to_thread(subscribed, watching), lambda count: count == 0)

    asyncio.run(live())


def test_who_gives_up_leaves_no_subscription_and_takes_none(redis_server: RedisServer):
    async def live() -> None:
        with redis_server.client() as watching:
            async with opened(redis_server.url) as store, opened(redis_server.url) as other:
                ids = [str(n) for n in range(2500)]
                for _ in range(5):  # given up at any moment, also in the middle of subscribing
                    waiting = [asyncio.create_task(all_of(store, ids)) for _ in range(3)]
                    await asyncio.sleep(0)
                    waiting[0].cancel()
                    await eventually(lambda: asyncio.to_thread(subscribed, watching), lambda count: count == 2500)
                    waiting[1].cancel()
                    staying = asyncio.create_task(all_of(store, ids))
                    await asyncio.gather(*waiting[:2], return_exceptions=True)
                    await other.put([done(one) for one in ids])
                    assert await waiting[2] == await staying == sorted(ids)
                    await other.forget(ids)
                    await eventually(lambda: asyncio.to_thread(subscribed, watching), lambda count: count == 0)

    asyncio.run(live())


def test_nobody_looks_before_he_listens(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch):
    write = SubscribedLine._write

    async def slowly(line: SubscribedLine) -> None:
        await asyncio.sleep(0.2)
        await write(line)

    async def live() -> None:
        async with opened(redis_server.url) as store, opened(redis_server.url) as other:
            monkeypatch.setattr(SubscribedLine, "_write", slowly)
            waiting = asyncio.create_task(all_of(store, ["x"]))
            await asyncio.wait([waiting], timeout=0.1)
            await other.put([done("x")])
            assert await waiting == ["x"]

    asyncio.run(live())


def test_what_is_put_while_somebody_begins_to_wait_is_never_missed(redis_server: RedisServer):
    """Between a subscription and a look, or a look and a subscription, there is no moment that nobody watches."""

    async def live() -> None:
        async with opened(redis_server.url) as store, opened(redis_server.url) as other:
            for turn in range(20):
                ids = [f"{turn}-{n}" for n in range(200)]

                async def put(ids: list[str] = ids) -> None:
                    for one in ids:
                        await other.put([done(one)])

                putting = asyncio.create_task(put())
                told = await asyncio.gather(*(all_of(store, [one]) for one in ids))
                assert told == [[one] for one in ids]
                await putting

    asyncio.run(live())


# -- keys


def test_every_key_expires(redis_url: str):
    async def live() -> None:
        async with opened(redis_url) as store:
            await store.sent(["sent", "done", "started"])
            soon = datetime.now(UTC) + timedelta(hours=1)
            await store.put([done("done"), done("started", state=STARTED), done("own", expires_at=soon)])
            for member in "ab":
                await store.join("group", member, 2)
            kept = {one.task_id: one.expires_at - datetime.now(UTC) for one in await store.get(["sent", "done", "own"])}
            assert {name: round(age / timedelta(hours=1)) for name, age in kept.items()} == {
                "sent": 24 * 30,
                "done": 24,
                "own": 1,
            }

    asyncio.run(live())
    url, _, prefix = redis_url.partition("?prefix=")
    with redis.Redis.from_url(url, decode_responses=True) as client:
        keys = [*client.scan_iter(f"{prefix.replace('%3A', ':')}*")]
        assert len(keys) == 6
        assert all(client.ttl(key) > 0 for key in keys)


def test_a_key_of_another_type_is_told_and_harms_no_other(redis_server: RedisServer):
    redis_server.say("HSET", "celery-task-meta-hash", "a", "b")
    redis_server.say("RPUSH", "celeriac-group-list", "a")

    async def live() -> None:
        async with opened(redis_server.url) as store:
            calls = (
                store.put([done("before"), done("hash"), done("after")]),
                store.get(["before", "hash"]),
                store.sent(["hash"]),
                all_of(store, ["hash"]),
            )
            for call in calls:
                with pytest.raises(KeyOfAnotherType, match=r"'celery-task-meta-hash'.*prefix="):
                    await call
            with pytest.raises(KeyOfAnotherType, match="prefix="):
                await store.join("list", "a", 2)
            assert [one.state for one in await store.get(["before", "after"])] == [SUCCESS, SUCCESS]
        async with opened(f"{redis_server.url}?prefix=ours:") as store:
            assert await store.put([done("hash")]) == [True]
            assert await store.join("list", "a", 1)

    asyncio.run(live())
    assert redis_server.say("HGET", "celery-task-meta-hash", "a") == "b"


@pytest.mark.parametrize(
    "value",
    [b"", b"nonsense", b"[]", b'{"status": "X"}', b"\x00celery-compressed\x00application/zstd\x00x", b"\xff"],
)
def test_a_value_that_is_no_result_is_told(redis_server: RedisServer, value: bytes):
    redis_server.say("SET", "celery-task-meta-x", value)

    async def live() -> None:
        async with opened(redis_server.url) as store:
            for ask in (store.get, partial(all_of, store)):
                with pytest.raises(TransportError, match="'celery-task-meta-x' holds no result"):
                    await ask(["x"])
            await store.sent(["x"])
            assert await store.put([done("x")]) == [True]  # nothing of worth is replaced
            assert await all_of(store, ["x"]) == ["x"]

    asyncio.run(live())


def test_nonsense_that_is_published_is_passed_by(redis_server: RedisServer):
    async def live() -> None:
        with redis_server.client() as watching:
            async with opened(redis_server.url) as store:
                waiting = asyncio.create_task(all_of(store, ["x"]))
                await eventually(lambda: asyncio.to_thread(subscribed, watching), lambda count: count == 1)
                for said in (b"nonsense", b'{"status": "SUCCESS", "result": 1, "task_id": "another"}'):
                    assert redis_server.say("PUBLISH", "celery-task-meta-x", said) == 1
                await store.put([done("x")])
                assert await waiting == ["x"]

    asyncio.run(live())
