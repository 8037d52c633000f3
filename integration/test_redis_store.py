"""Redis keeps the result-store contract, and what it does beyond: connections, keys, limits."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
import redis

from celeriac.clock import SystemClock
from celeriac.errors import AccessRefused, ConnectionLost, MessageTooLarge, TransportError
from celeriac.results import ResultRecord
from celeriac.states import FAILURE, PENDING, STARTED, SUCCESS
from celeriac.testing import ResultStoreContract
from celeriac.testing.conformance.case import eventually
from celeriac_redis.errors import KeyOfAnotherType, ServerFull
from celeriac_redis.results import records
from celeriac_redis.store import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from redis_server import RedisServer

LONGEST = 15  # seconds that anything here may take


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


def test_an_id_may_be_any_text(redis_url: str):
    names = ["", " ", "a:b", "☃", "\x00", "x" * 10_000, "{tag}", "*", "\n"]

    async def live() -> None:
        async with opened(redis_url) as store:
            waiting = asyncio.create_task(all_of(store, names))
            await store.put([done(name) for name in names])
            assert await waiting == sorted(names)
            for call in (store.put([done("\ud800")]), store.get(["\ud800"]), store.forget(["\ud800"])):
                with pytest.raises(TransportError, match="Unicode"):
                    await call

    asyncio.run(live())


# -- compare and set


def test_what_stands_decides_whatever_wrote_it(redis_server: RedisServer):
    def celery(state: str, more: str = "") -> str:
        return f'{{"status": "{state}", "result": null, "traceback": null, "children": [], "task_id": "x"{more}}}'

    async def live() -> None:
        async with opened(redis_server.url) as store:
            for standing, taken in (
                (celery(SUCCESS), False),
                (celery(FAILURE), False),
                (celery("STARTED"), True),
                (celery("RETRY", ', "retries": 1'), True),
                (celery("RETRY", ', "retries": 2'), False),
                (celery("MY_OWN", ', "retries": null'), True),
                (celery("SUCCESS_ER"), True),
                (f'{{"task_id": "x", "status": "{SUCCESS}"}}', False),
                (f'{{"status":"{SUCCESS}","task_id":"x"}}', False),
            ):
                redis_server.say("SET", "celery-task-meta-x", standing)
                assert await store.put([done("x", attempt=2)]) == [taken], standing

    asyncio.run(live())


def test_many_records_of_one_call(redis_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "MANY", 7)
    ids = [str(n) for n in range(50)]

    async def live() -> None:
        async with opened(redis_url) as store:
            put = [done(one, state=state) for one in ids for state in (STARTED, SUCCESS, FAILURE)]
            assert await store.put(put) == [True, True, False] * 50
            assert [one.state for one in await store.get([*ids, *ids])] == [SUCCESS] * 100
            await store.sent(ids)
            assert {one.state for one in await store.get(ids)} == {SUCCESS}

    asyncio.run(live())


def test_in_a_fleet_nothing_is_written_when_a_task_is_sent(redis_url: str):
    async def live() -> None:
        async with opened(f"{redis_url}&fleet=celery") as fleet, opened(redis_url) as own:
            await fleet.sent(["x"])
            assert [*await fleet.get(["x"]), *await own.get(["x"])] == [None, None]
            assert not fleet.capabilities().knows_unknown
            await own.sent(["y"])
            assert (await fleet.get(["y"]))[0].state == PENDING

    asyncio.run(live())


# -- limits of the server


def test_a_result_that_is_too_large(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch):
    async def live() -> None:
        async with opened(redis_server.url) as store:
            big = done("big", body=b'"%b"' % (b"x" * 3_000_000))
            assert await store.put([big, done("small"), big]) == [True, True, False]
            assert (await store.get(["big"]))[0].body == big.body
            monkeypatch.setattr(records, "LARGEST", 1_000_000)
            with pytest.raises(MessageTooLarge, match="3000"):
                await store.put([done("other"), done("bigger", body=big.body)])
            assert await store.get(["other"]) == [None]

    asyncio.run(live())


def test_a_server_without_memory_says_so_and_can_be_read(redis_server: RedisServer):
    async def live() -> None:
        async with opened(redis_server.url) as store:
            await store.put([done("before")])
            redis_server.say("CONFIG", "SET", "maxmemory", "1")
            for call in (store.put([done("after")]), store.sent(["after"]), store.join("group", "a", 2)):
                with pytest.raises(ServerFull, match="maxmemory"):
                    await call
            assert await all_of(store, ["before"]) == ["before"]
            redis_server.say("CONFIG", "SET", "maxmemory", "0")
            assert await store.put([done("after")]) == [True]

    asyncio.run(live())


def test_a_user_who_may_not_use_our_channels_is_refused(redis_server: RedisServer):
    redis_server.say("ACL", "SETUSER", "app", "on", ">open-sesame", "~*", "+@all", "resetchannels")

    async def live() -> None:
        async with opened(redis_server.url_as("app:open-sesame@")) as store:
            await store.sent(["x"])
            for call in (all_of(store, ["x"]), store.put([done("x")])):
                with pytest.raises(AccessRefused) as raised:
                    await call
                assert "open-sesame" not in str(raised.value)
            redis_server.say("ACL", "SETUSER", "app", "&celery-task-meta-*")
            waiting = asyncio.create_task(all_of(store, ["y"]))
            await store.put([done("y")])
            assert await waiting == ["y"]

    asyncio.run(live())


def test_a_slow_reader_that_is_cut_off_looks_again(redis_server: RedisServer):
    redis_server.say("CONFIG", "SET", "client-output-buffer-limit", "pubsub 100kb 100kb 1")
    ids = [str(n) for n in range(300)]

    async def live() -> None:
        with redis_server.client() as watching:
            async with opened(redis_server.url) as store, opened(redis_server.url) as other:
                waiting = asyncio.create_task(all_of(store, ids))
                await eventually(lambda: asyncio.to_thread(subscribed, watching), lambda count: count == 300)
                body = b'"%b"' % (b"x" * 100_000)
                await other.put([done(one, body=body) for one in ids])
                assert await waiting == sorted(ids)

    asyncio.run(live())
    assert "overcoming of output buffer limits" in redis_server.log()


def test_the_server_forgets_its_scripts(redis_server: RedisServer):
    async def live() -> None:
        async with opened(redis_server.url) as store:
            await store.put([done("x")])
            redis_server.say("SCRIPT", "FLUSH")
            assert await store.put([done("x"), done("y")]) == [False, True]
            redis_server.say("SCRIPT", "FLUSH")
            assert [one.state for one in await store.get(["x", "y"])] == [SUCCESS] * 2

    asyncio.run(live())


def test_a_closed_store_tells_whoever_waits(redis_url: str):
    async def live() -> None:
        async with opened(redis_url) as store:
            waiting = asyncio.create_task(all_of(store, ["x"]))
            await asyncio.wait([waiting], timeout=0.1)
            await store.close()
            with pytest.raises(ConnectionLost, match="closed"):
                await waiting
            await store.open()
            await store.put([done("x")])
            assert await all_of(store, ["x"]) == ["x"]

    asyncio.run(live())
