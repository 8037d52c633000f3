"""What the result store on Redis writes and reads: any id, any size, and whatever stands there already."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest
from redis_results import all_of, done, opened, subscribed, until_subscribed

from celeriac.errors import AccessRefused, ConnectionLost, MessageTooLarge, TransportError
from celeriac.states import FAILURE, PENDING, STARTED, SUCCESS
from celeriac.testing.conformance.case import eventually
from celeriac_redis.errors import ServerFull
from celeriac_redis.results import records

if TYPE_CHECKING:
    from redis_server import RedisServer


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


def test_large_results_are_read_some_at_a_time(redis_url: str):
    ids = [f"big-{n}" for n in range(12)]

    async def live() -> None:
        async with opened(redis_url) as store:
            body = b'"%b"' % (b"x" * 1_500_000)
            assert await store.put([done(one, body=body) for one in ids]) == [True] * 12
            asked = [*ids, "none", ids[0]]
            assert [one and one.body == body for one in await store.get(asked)] == [True] * 12 + [None, True]
            assert await all_of(store, ids) == sorted(ids)

    asyncio.run(live())


def test_a_result_under_the_key_of_another_task_is_told(redis_server: RedisServer):
    redis_server.say("SET", "celery-task-meta-x", '{"status": "SUCCESS", "result": 1, "task_id": "y"}')

    async def live() -> None:
        async with opened(redis_server.url) as store:
            for ask in (store.get, partial(all_of, store)):
                with pytest.raises(TransportError, match="'celery-task-meta-x' holds the result of another task, 'y'"):
                    await ask(["x"])

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


def test_a_closed_store_tells_whoever_waits(redis_server: RedisServer):
    async def live() -> None:
        async with opened(redis_server.url) as store:
            waiting = asyncio.create_task(all_of(store, ["x"]))
            await until_subscribed(redis_server, 1)
            await store.close()
            with pytest.raises(ConnectionLost, match="closed"):
                await waiting
            await store.open()
            await store.put([done("x")])
            assert await all_of(store, ["x"]) == ["x"]

    asyncio.run(live())
