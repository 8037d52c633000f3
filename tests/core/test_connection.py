"""The supervisor of broker and store: opens, declares, and opens again after a loss, on time that a test lets pass."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from types import SimpleNamespace

import pytest

from celeriac import Queue
from celeriac.connection import LONGEST_PAUSE, STEADY, Connection
from celeriac.errors import AccessRefused, ConnectionLost, TopologyMismatch
from celeriac.settings import Settings
from celeriac.testing import VirtualClock
from celeriac.topology import Topology
from celeriac.transport import Capabilities
from celeriac_memory.store import MemoryResultStore


class FakeTransport:
    """Opens as it is told, and writes down what is asked of it."""

    scoped = False

    def __init__(self, urls, *, clock, on_lost) -> None:
        self.urls = tuple(urls)
        self.on_lost = on_lost
        self.clock = clock
        self.journal = []
        self.refusals = []  # what the next openings raise; None succeeds
        self.mismatch = None
        self.during_declare = None

    async def open(self):
        self.journal.append(("open", self.clock.monotonic()))
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal

    async def close(self):
        self.journal.append(("close", self.clock.monotonic()))

    async def declare(self, topology):
        self.journal.append(("declare", [queue.name for queue in topology.queues]))
        if self.during_declare is not None:
            act, self.during_declare = self.during_declare, None
            act()
        if self.mismatch is not None:
            raise self.mismatch

    def capabilities(self, queue):
        return Capabilities(priority_levels=queue.priorities)

    @property
    def openings(self):
        return [moment for what, moment in self.journal if what == "open"]

    @property
    def declared(self):
        return [names for what, names in self.journal if what == "declare"]


class ScopedTransport(FakeTransport):
    scoped = True


def make(broker=("fake://user:open-sesame@host",), backend=(), mode="active", transport=FakeTransport) -> Connection:
    return Connection(
        settings=Settings(broker=broker, backend=backend, declare=mode),
        plugins=SimpleNamespace(transport=lambda _: transport, result_store=lambda _: _Store),
        clock=VirtualClock(),
        random=Random(7),
        topology=Topology.of([Queue("mail", priorities=5)], mode=mode),
        scope="app-1",
    )


class _Store(MemoryResultStore):
    def __init__(self, urls, *, clock, transport=None) -> None:
        super().__init__(["memory://connection-test"], clock=clock, transport=transport)
        self.urls = tuple(urls)


@asynccontextmanager
async def opened(**options):
    connection = make(**options)
    await connection.open()
    try:
        yield connection, connection.transport, connection.clock
    finally:
        await connection.close()


async def lose(connection) -> None:
    connection.transport.on_lost(ConnectionLost("gone"))


def test_constructing_opens_nothing() -> None:
    assert make().transport.journal == []


def test_opening_declares_once() -> None:
    async def main():
        async with opened() as (connection, transport, _):
            await connection.open()
            await connection.ready()
            assert transport.journal == [("open", 0.0), ("declare", ["mail"])]

    asyncio.run(main())


def test_callers_who_come_together_open_once() -> None:
    async def main():
        connection = make()
        await asyncio.gather(*(connection.ready() for _ in range(20)))
        assert len(connection.transport.openings) == 1
        await connection.close()

    asyncio.run(main())


def test_addresses_are_for_people() -> None:
    connection = make(backend=("memory://user:open-sesame@store",))
    for text in (connection.address, connection.store_address):
        assert "user:**@" in text
        assert "open-sesame" not in text


def test_a_bare_url_gets_the_app_s_own_name_where_the_transport_asks_for_it() -> None:
    assert make(("fake://?lease=3",), transport=ScopedTransport).transport.urls == ("fake://app-1?lease=3",)
    assert make(("fake:///",), transport=ScopedTransport).store.urls == ("fake://app-1",)
    assert make(("fake://named",), transport=ScopedTransport).transport.urls == ("fake://named",)
    assert make(("fake://",)).transport.urls == ("fake://",)


def test_other_queues_are_declared_once_a_connection() -> None:
    async def main():
        async with opened() as (connection, transport, clock):
            await connection.declare(["mail", "more"])
            await connection.declare(["more"])
            assert transport.declared == [["mail"], ["more"]]
            await lose(connection)
            await clock.advance(1)
            await connection.ready()
            await connection.declare(["more"])
            assert transport.declared == [["mail"], ["more"], ["mail"], ["more"]]

    asyncio.run(main())


def test_declaring_again_means_all() -> None:
    async def main():
        async with opened() as (connection, transport, _):
            await connection.declare(["more"])
            await connection.declare_again()
            assert [sorted(names) for names in transport.declared] == [["mail"], ["more"], ["mail"], ["more"]]

    asyncio.run(main())


def test_capabilities_are_those_of_the_declared_queue() -> None:
    connection = make()
    assert connection.capabilities("mail").priority_levels == 5
    assert connection.capabilities("other").priority_levels == 1


# opening that fails


@pytest.mark.parametrize("error", [ConnectionLost("nobody"), AccessRefused("no")])
def test_a_worker_s_opening_raises_at_the_first_failure(error) -> None:
    async def main():
        connection = make()
        connection.transport.refusals = [error]
        with pytest.raises(type(error)):
            await connection.open()
        assert connection.last_error is error
        await connection.open()
        assert connection.last_error is None
        await connection.close()

    asyncio.run(main())


def test_a_client_s_opening_tries_again_while_nobody_answers() -> None:
    async def main():
        connection = make()
        connection.transport.refusals = [ConnectionLost("nobody")] * 8
        ready = asyncio.create_task(connection.ready())
        while not ready.done():
            await connection.clock.advance(0.05)
        openings = connection.transport.openings
        pauses = [later - earlier for earlier, later in pairwise(openings)]
        assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_PAUSE, LONGEST_PAUSE], abs=0.06)
        await connection.close()

    asyncio.run(main())


def test_what_no_patience_helps_is_the_caller_s_to_see() -> None:
    async def main():
        connection = make()
        connection.transport.mismatch = TopologyMismatch("mail has other arguments")
        with pytest.raises(TopologyMismatch):
            await connection.ready()
        connection.transport.mismatch = None
        await connection.ready()
        await connection.close()

    asyncio.run(main())


# losses


def test_a_loss_is_told_and_opened_again_with_spread_and_growing_pauses(caplog) -> None:
    async def main():
        async with opened() as (connection, transport, clock):
            told = []
            connection.on_lost.append(lambda: told.append(clock.monotonic()))
            transport.refusals = [ConnectionLost("still gone")] * 3
            await clock.advance(STEADY)
            await lose(connection)
            assert told == [STEADY]
            waiting = asyncio.create_task(connection.ready())
            await clock.advance(0)
            assert not waiting.done(), "who wants to publish waits"
            while not waiting.done():
                await clock.advance(0.01)
            pauses = [b - a for a, b in pairwise(transport.openings[1:])]
            assert len(pauses) == 3
            shares = [pause / longest for pause, longest in zip(pauses, (0.1, 0.2, 0.4), strict=True)]
            assert all(0.5 <= share <= 1.11 for share in shares), "the test looks every 0.01 s"
            assert min(shares) < 0.9, "workers that lost one broker do not come back in step"
            assert connection.last_error is None

    with caplog.at_level(logging.INFO, "celeriac.connection"):
        asyncio.run(main())
    assert "lost the broker fake://user:**@host: gone" in caplog.messages
    assert "the broker fake://user:**@host is back" in caplog.messages


def test_refused_on_the_way_back_is_an_error_in_the_log_and_no_end(caplog) -> None:
    async def main():
        async with opened() as (connection, transport, clock):
            transport.refusals = [AccessRefused("no such user")]
            await lose(connection)
            await clock.advance(1)
            await connection.ready()

    asyncio.run(main())
    assert [record.levelname for record in caplog.records if "no such user" in record.message] == ["ERROR"]


def test_a_second_loss_while_reopening_is_the_same_one() -> None:
    async def main():
        async with opened() as (connection, transport, clock):
            told = []
            connection.on_lost.append(lambda: told.append(1))
            transport.refusals = [ConnectionLost("still gone")]
            await lose(connection)
            await lose(connection)
            await clock.advance(1)
            await connection.ready()
            assert told == [1]
            assert len(transport.openings) == 3

    asyncio.run(main())


def test_a_loss_during_the_declaring_is_not_overlooked() -> None:
    async def main():
        async with opened() as (connection, transport, clock):
            transport.during_declare = lambda: transport.on_lost(ConnectionLost("gone again"))
            await lose(connection)
            await clock.advance(1)
            await connection.ready()
            assert len(transport.openings) == 3

    asyncio.run(main())


def test_what_opens_and_is_lost_at_once_is_opened_ever_more_slowly() -> None:
    async def main():
        async with opened() as (connection, _, clock):
            for _ in range(8):
                await lose(connection)
                await clock.advance(LONGEST_PAUSE)
                await connection.ready()
                await clock.advance(STEADY / 10)
            await clock.advance(STEADY)
            before = clock.monotonic()
            await lose(connection)
            await connection.ready()
            assert clock.monotonic() == before, "what was open for long is opened again at once"

            losses = 0
            while clock.monotonic() < before + 30:
                await lose(connection)
                losses += 1
                while not connection._up.is_set():
                    await clock.advance(0.05)
            assert losses < 15

    asyncio.run(main())


def test_whatever_a_plugin_raises_it_is_opened_again(caplog) -> None:
    async def main():
        async with opened() as (connection, transport, clock):
            transport.refusals = [ZeroDivisionError("a plugin's own fault")]
            await lose(connection)
            await clock.advance(1)
            await connection.ready()

    asyncio.run(main())
    assert "a plugin's own fault" in caplog.text


def test_a_loss_while_closing_begins_nothing() -> None:
    async def main():
        connection = make()
        await connection.open()
        connection.transport.refusals = [ConnectionLost("still gone")] * 99
        await lose(connection)
        connection._reopening.add_done_callback(lambda _: connection.transport.on_lost(ConnectionLost("again")))
        await connection.close()
        before = len(connection.transport.openings)
        await connection.clock.advance(60)
        assert len(connection.transport.openings) == before

    asyncio.run(main())


def test_after_each_loss_there_is_a_next_one() -> None:
    async def main():
        async with opened() as (connection, transport, clock):
            for round_ in range(1, 4):
                await lose(connection)
                await clock.advance(1)
                await connection.ready()
                assert len(transport.openings) == 1 + round_

    asyncio.run(main())


def test_closing_stops_the_reopening() -> None:
    async def main():
        connection = make()
        await connection.open()
        connection.transport.refusals = [ConnectionLost("still gone")] * 99
        await lose(connection)
        await connection.clock.advance(1)
        await connection.close()
        before = len(connection.transport.openings)
        await connection.clock.advance(60)
        assert len(connection.transport.openings) == before
        assert connection.transport.journal[-1][0] == "close"
        await connection.close()

    asyncio.run(main())


def test_closed_is_not_for_ever() -> None:
    async def main():
        connection = make()
        await connection.open()
        await connection.close()
        await connection.ready()
        assert connection.transport.declared == [["mail"], ["mail"]]
        await connection.close()

    asyncio.run(main())
