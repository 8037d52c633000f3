"""The result store on Redis while connections break, and the server stands still, dies, comes back or fails over."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis_results
from redis_results import done, opened, until_subscribed
from redis_server import RedisServer, Sentinel

from celeriac import App
from celeriac.clock import SystemClock
from celeriac.errors import AccessRefused, ConnectionLost
from celeriac.states import STARTED, SUCCESS
from celeriac.testing import FaultProxy
from celeriac.testing.conformance.case import eventually
from celeriac_redis.store import RedisStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

LONGEST = 20  # seconds that anything here may take
HEARTBEAT = 0.5
SOME = 30  # answers before the next murder

all_of = partial(redis_results.all_of, longest=LONGEST)


async def patiently(do: Callable[[], Awaitable[Any]]) -> Any:
    """Do it again until the connection holds, as every caller of a store does."""
    async with asyncio.timeout(LONGEST):
        while True:
            with suppress(ConnectionLost):
                return await do()
            await asyncio.sleep(0.01)


# -- connections


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
def test_connections_are_killed_while_results_come(redis_server: RedisServer, kind: str):
    """Whoever waits notices nothing, and misses nothing."""
    ids = [str(n) for n in range(2000)]

    async def live() -> None:
        async with opened(redis_server.url) as store, opened(redis_server.url) as other:
            await store.sent(ids)
            waiting = [asyncio.create_task(all_of(store, ids[start:])) for start in (0, 500, 1999)]
            await until_subscribed(redis_server, len(ids))
            killed = 0
            for start in range(0, len(ids), 20):
                some = [done(one) for one in ids[start : start + 20]]
                await patiently(lambda some=some: other.put(some))
                killed += await asyncio.to_thread(redis_server.say, "CLIENT", "KILL", "TYPE", kind)
            assert killed >= 10
            assert await asyncio.gather(*waiting) == [sorted(ids[start:]) for start in (0, 500, 1999)]
            assert [one.state for one in await patiently(lambda: store.get(ids))] == [SUCCESS] * len(ids)

    asyncio.run(live())


def test_a_join_whose_answer_is_lost_still_completes_its_group(redis_server: RedisServer):
    """The answer is True once: it must not be the one that nobody heard."""

    async def live() -> None:
        with FaultProxy(redis_server.url) as proxy:
            async with opened(proxy.url(redis_server.url)) as store:
                for number in range(20):
                    group = str(number)
                    assert not await store.join(group, "a", 2)
                    proxy.latency(0.05)
                    joining = asyncio.create_task(store.join(group, "b", 2))
                    key = f"celeriac-group-done-{group}"
                    await eventually(
                        lambda key=key: asyncio.to_thread(redis_server.say, "EXISTS", key), lambda there: there == 1
                    )
                    proxy.reset(new=False)  # it has been done, and its answer is on the way
                    proxy.heal()
                    assert await joining
                    assert not await store.join(group, "b", 2)

    asyncio.run(live())


def test_a_dead_link_is_noticed_within_two_heartbeats(redis_server: RedisServer):
    async def live() -> None:
        with FaultProxy(redis_server.url) as proxy:
            url = f"{proxy.url(redis_server.url)}?heartbeat={HEARTBEAT}&connect_timeout=0.5"
            async with opened(url) as store, opened(redis_server.url) as other:
                waiting = asyncio.create_task(all_of(store, ["x"]))
                await until_subscribed(redis_server, 1)
                proxy.blackhole(new=False)
                began = asyncio.get_running_loop().time()
                await other.put([done("x")])  # nobody tells; found when it is looked for again
                assert await waiting == ["x"]
                assert asyncio.get_running_loop().time() - began < 4 * HEARTBEAT
                proxy.blackhole()
                with pytest.raises(ConnectionLost):
                    await store.get(["x"])
                with pytest.raises(ConnectionLost):
                    await all_of(store, ["y"])
                proxy.heal()
                assert await patiently(lambda: all_of(store, ["x"])) == ["x"]

    asyncio.run(live())


# -- the server


def test_a_server_that_stands_still(redis_server: RedisServer):
    """Whoever waits is told; afterwards the same store works, and nothing was lost."""

    async def live() -> None:
        async with opened(f"{redis_server.url}?heartbeat={HEARTBEAT}&connect_timeout=0.5") as store:
            await store.put([done("before")])
            waiting = asyncio.create_task(all_of(store, ["after"]))
            await until_subscribed(redis_server, 1)
            redis_server.freeze()
            try:
                with pytest.raises(ConnectionLost):
                    await waiting
                with pytest.raises(ConnectionLost):
                    await store.put([done("lost")])
            finally:
                redis_server.thaw()
            again = asyncio.create_task(patiently(lambda: all_of(store, ["before", "after"])))
            await patiently(lambda: store.put([done("after")]))
            assert await again == ["after", "before"]

    asyncio.run(live())


def test_a_server_that_is_killed_and_started_again(tmp_path: Path):
    """With its file on the disk nothing that was answered is lost, however often."""
    answered: list[str] = []

    async def live() -> None:
        with RedisServer(tmp_path, appendonly=True) as server:
            async with opened(server.url) as store, opened(server.url) as other:
                waiting = asyncio.create_task(patiently(lambda: all_of(store, ["last"])))
                for turn in range(5):
                    some = threading.Event()
                    killing = threading.Thread(target=lambda some=some: some.wait(LONGEST) and server.kill())
                    killing.start()
                    with suppress(ConnectionLost):
                        for number in range(100_000):
                            name = f"{turn}-{number}"
                            await other.put([done(name)])
                            answered.append(name)
                            if number == SOME:
                                some.set()
                    killing.join()
                    await asyncio.to_thread(server.start)
                    found = await patiently(lambda: other.get(answered))
                    assert [one and one.state for one in found] == [SUCCESS] * len(answered)
                await other.put([done("last")])
                assert await waiting == ["last"]

    asyncio.run(live())
    assert len(answered) > 5 * SOME


def test_an_app_waits_across_a_restart(tmp_path: Path):
    with RedisServer(tmp_path, appendonly=True) as server:
        app = App("waits", broker="memory://", backend=server.url)
        try:
            app.client.portal.run(app.client.connection.ready())
            app.client.portal.run(app.client.connection.store.sent(["x"]))
            got: list[object] = []
            waiting = threading.Thread(target=lambda: got.append(app.AsyncResult("x").get(timeout=LONGEST)))
            waiting.start()
            asyncio.run(until_subscribed(server, 1))
            server.kill()
            server.start()

            async def finish() -> None:
                async with opened(server.url) as store:
                    await store.put([done("x", body=b"5")])

            asyncio.run(finish())
            waiting.join(LONGEST)
            assert got == [5]
        finally:
            app.close()


def test_a_server_that_starts_with_another_password(tmp_path: Path):
    with RedisServer(tmp_path, password="open-sesame") as server:  # noqa: S106

        async def live() -> None:
            async with opened(server.url) as store:
                await store.put([done("x")])
                server.say("CONFIG", "SET", "requirepass", "other")
                server.password = "other"  # noqa: S105
                server.say("CLIENT", "KILL", "TYPE", "normal")
                for call in (store.get(["x"]), all_of(store, ["x"])):
                    with pytest.raises(AccessRefused) as raised:
                        await call
                    assert "open-sesame" not in str(raised.value)
                server.say("CONFIG", "SET", "requirepass", "open-sesame")
                assert await all_of(store, ["x"]) == ["x"]

        asyncio.run(live())


# -- failover


def test_a_master_that_becomes_a_replica_is_left_for_the_new_one(tmp_path: Path):
    with RedisServer(tmp_path / "one") as one, RedisServer(tmp_path / "two", replica_of=one) as two:
        two.until_in_step()

        async def live() -> None:
            async with opened(one.url, two.url) as store:
                await store.put([done("x")])
                waiting = asyncio.create_task(patiently(lambda: all_of(store, ["y"])))
                await until_subscribed(one, 1)
                await asyncio.to_thread(one.say, "WAIT", 1, 5000)
                two.say("REPLICAOF", "NO", "ONE")
                one.say("REPLICAOF", "127.0.0.1", two.port)
                assert await patiently(lambda: store.put([done("x", state=STARTED), done("y")])) == [False, True]
                assert await waiting == ["y"]
                assert two.say("EXISTS", "celery-task-meta-y") == 1

        asyncio.run(live())


def test_sentinels_name_the_new_master(tmp_path: Path):
    with (
        RedisServer(tmp_path / "one", password="open-sesame") as one,  # noqa: S106
        RedisServer(tmp_path / "two", password="open-sesame", replica_of=one) as two,  # noqa: S106
        Sentinel(tmp_path / "sentinel", one, password="watchword") as sentinel,  # noqa: S106
    ):
        two.until_in_step()
        sentinel.until(lambda client: client.sentinel_master("main")["num-slaves"] == 1)
        hosts = f"127.0.0.1:1;127.0.0.1:{sentinel.port}"  # one that does not answer stands in nobody's way
        url = f"sentinel://:open-sesame@{hosts}/main?sentinel_password=watchword&heartbeat={HEARTBEAT}"

        async def live() -> None:
            with pytest.raises(AccessRefused):
                await RedisStore([url.replace("watchword", "wrong")], clock=SystemClock()).open()
            with pytest.raises(ConnectionLost, match="no master for the service 'other'"):
                await RedisStore([url.replace("/main", "/other")], clock=SystemClock()).open()
            async with opened(url) as store:
                await store.put([done("x")])
                waiting = asyncio.create_task(patiently(lambda: all_of(store, ["y"])))
                await until_subscribed(one, 1)
                await asyncio.to_thread(one.say, "WAIT", 1, 5000)
                one.kill()
                assert await patiently(lambda: store.put([done("x", state=STARTED), done("y")])) == [False, True]
                assert await waiting == ["y"]
                assert two.say("EXISTS", "celery-task-meta-y") == 1

        asyncio.run(live())
