"""The mailbox keeps the result-store contract, and what is its own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import (
    ConfigurationError,
    ConnectionLost,
    NoResultStore,
    QueueNotFound,
    TopologyMismatch,
    Unsupported,
)
from celeriac.message import Message
from celeriac.results import ResultRecord
from celeriac.testing import ResultStoreContract
from celeriac.testing.conformance.case import eventually, unique
from celeriac_amqp import mailbox as mailboxes
from celeriac_amqp.declaring import CLASSIC, QUORUM
from celeriac_amqp.mailbox import EXPIRES, AmqpMailbox
from celeriac_amqp.transport import AmqpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TestMailbox(ResultStoreContract):
    store_class = AmqpMailbox

    @pytest.fixture
    def store_urls(self, amqp_vhost: str) -> list[str]:
        return [amqp_vhost]

    async def transport(self) -> AmqpTransport:
        transport = AmqpTransport(self.urls, clock=SystemClock(), on_lost=lambda _error: None)
        self.stack.push_async_callback(transport.close)
        await transport.open()
        return transport


@asynccontextmanager
async def mailbox(url: str, on_lost=lambda _error: None) -> AsyncIterator[AmqpMailbox]:
    transport = AmqpTransport([url], clock=SystemClock(), on_lost=on_lost)
    await transport.open()
    store = AmqpMailbox(["rpc://"], clock=SystemClock(), transport=transport)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
        await transport.close()


def record(task_id: str, to: AmqpMailbox, **fields: object) -> ResultRecord:
    return ResultRecord(**{"task_id": task_id, "attempt": 1, "state": "SUCCESS", "reply_to": to.reply_to, **fields})


def test_it_is_made_at_the_first_send_and_deleted_at_close(amqp_vhost) -> None:
    async def body() -> None:
        async with mailbox(amqp_vhost) as witness:
            exists = witness._broker.depth
            async with mailbox(amqp_vhost) as store:
                name = store.reply_to
                assert not await _there(exists, name)
                await store.sent(["a"])
                assert await _there(exists, name)
            assert not await _there(exists, name)

    asyncio.run(body())


async def _there(depth, name: str) -> bool:
    with suppress(QueueNotFound):
        await depth(name)
        return True
    return False


def test_results_that_come_while_the_caller_is_away_are_there_when_it_is_back(amqp_vhost) -> None:
    async def body() -> None:
        lost = asyncio.Event()
        async with mailbox(amqp_vhost, lambda _error: lost.set()) as caller, mailbox(amqp_vhost) as worker:
            ids = [unique("task") for _ in range(50)]
            await caller.sent(ids)
            waiting = asyncio.ensure_future(_all(caller, ids))
            await worker.put([record(ids[0], caller)])
            caller._broker.control().abort("test")
            await asyncio.wait_for(lost.wait(), 5)
            assert await worker.put([record(task, caller) for task in ids[1:]]) == [True] * 49
            await caller._broker.open()
            await caller.open()
            assert sorted(one.task_id for one in await asyncio.wait_for(waiting, 5)) == sorted(ids)

    asyncio.run(body())


async def _all(store: AmqpMailbox, ids: list[str]) -> list[ResultRecord]:
    return [one async for one in store.wait(ids)]


def test_what_has_come_is_known_in_every_thread(amqp_vhost) -> None:
    async def body() -> None:
        async with mailbox(amqp_vhost) as store:
            await store.sent(["a", "b"])
            await store.put([record("b", store, state="STARTED"), record("a", store)])
            async for final in store.wait(["a"]):
                assert await asyncio.to_thread(store.known, "a") == final
            assert store.known("b") is None
            await store.forget(["a"])
            assert store.known("a") is None

    asyncio.run(body())


@pytest.mark.parametrize("at_least", [3, 1000], ids=["many", "after a while"])
def test_replies_are_acknowledged_a_few_at_a_time(amqp_vhost, monkeypatch, at_least) -> None:
    monkeypatch.setattr(mailboxes, "PREFETCH", 3)
    monkeypatch.setattr(mailboxes, "ACK_AT_LEAST", at_least)
    if at_least == 3:
        monkeypatch.setattr(mailboxes, "ACK_SECONDS", 3600)

    async def body() -> None:
        async with mailbox(amqp_vhost) as store:
            ids = [f"task {number}" for number in range(9)]  # three times what comes unacknowledged
            await store.sent(ids)
            await store.put([record(task_id, store) for task_id in ids])
            async with asyncio.timeout(5):
                assert {final.task_id async for final in store.wait(ids)} == {*ids}

    asyncio.run(body())


def test_replies_on_another_channel_are_acknowledged_there(amqp_vhost, monkeypatch) -> None:
    """Also where one of the lost channel was to be acknowledged a little later."""
    monkeypatch.setattr(mailboxes, "PREFETCH", 3)
    monkeypatch.setattr(mailboxes, "ACK_SECONDS", 0.2)

    async def answered(store: AmqpMailbox, ids: list[str]) -> None:
        await store.sent(ids)
        await store.put([record(task_id, store) for task_id in ids])
        async with asyncio.timeout(5):
            assert {final.task_id async for final in store.wait(ids)} == {*ids}

    async def body() -> None:
        async with mailbox(amqp_vhost) as store:
            await answered(store, ["before"])
            await store._channel.close()
            await answered(store, [f"task {number}" for number in range(7)])

    asyncio.run(body())


def test_whom_nobody_waits_for_is_no_failure(amqp_vhost) -> None:
    async def body() -> None:
        async with mailbox(amqp_vhost) as store:
            gone = record("a", store, reply_to="celeriac.reply.gone")
            nobody = record("a", store, reply_to=None)
            assert await store.put([gone, nobody]) == [True, True]
            await store.sent(["live", "forgotten"])
            await store.forget(["forgotten"])
            await store.put([record("forgotten", store), record("live", store), record("unknown", store)])
            await _all(store, ["live"])
            assert set(store._records) == {"live"}
            with pytest.raises(NoResultStore, match="backend="):
                await store.get(["forgotten"])

    asyncio.run(body())


def test_rubbish_in_the_mailbox_is_passed_over(amqp_vhost) -> None:
    async def body() -> None:
        async with mailbox(amqp_vhost) as store:
            await store.sent(["a"])
            await store._broker.publish([Message(id="x", routing_key=store.reply_to, body=b"{not json")])
            await store.put([record("a", store)])
            assert [one.state for one in await _all(store, ["a"])] == ["SUCCESS"]
            name = store.reply_to
            await eventually(lambda: store._broker.depth(name), lambda depth: depth.ready == 0)

    asyncio.run(body())


def test_closing_ends_whoever_waits(amqp_vhost) -> None:
    async def body() -> None:
        async with mailbox(amqp_vhost) as store:
            await store.sent(["a"])
            waiting = asyncio.ensure_future(_all(store, ["a"]))
            await asyncio.sleep(0)
            await store.close()
            with pytest.raises(ConnectionLost):
                await waiting

    asyncio.run(body())


def test_groups_are_refused_and_so_is_another_broker(amqp_vhost) -> None:
    async def body() -> None:
        async with mailbox(amqp_vhost) as store:
            with pytest.raises(Unsupported, match="backend="):
                await store.join("g", "m", 2)
        with pytest.raises(ConfigurationError, match="backend="):
            AmqpMailbox(["rpc://"], clock=SystemClock())

    asyncio.run(body())


@pytest.mark.parametrize(("urls", "kind"), [(1, "classic"), (2, "quorum")])
def test_with_several_addresses_it_outlives_a_node(amqp_vhost, urls, kind) -> None:
    async def body() -> None:
        transport = AmqpTransport([amqp_vhost] * urls, clock=SystemClock(), on_lost=lambda _error: None)
        await transport.open()
        store = AmqpMailbox(["rpc://"], clock=SystemClock(), transport=transport)
        await store.open()
        try:
            await store.sent(["a"])
            other = {"classic": QUORUM, "quorum": CLASSIC}[kind]
            with pytest.raises(TopologyMismatch, match=f"current is '{kind}'"):
                async with transport.control().scratch() as channel:
                    await channel.call("queue_declare", store.reply_to, durable=True, arguments={**other, **EXPIRES})
            await store.put([record("a", store)])
            assert [one.state for one in await _all(store, ["a"])] == ["SUCCESS"]
        finally:
            await store.close()
            await transport.close()

    asyncio.run(body())
