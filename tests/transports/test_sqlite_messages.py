"""Group commit, steps, and what only a database can get wrong."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.clock import SystemClock
from celeriac.errors import MessageTooLarge, Unsupported
from celeriac.message import CONFIRMED, Message, Move, Outcome, Settlement, SettleReceipt
from celeriac.topology import Queue, Topology
from celeriac.transport_helpers import dump_headers, load_headers
from celeriac_sqlite import rows, transport
from celeriac_sqlite.database import Database
from celeriac_sqlite.operations import claim, tend
from celeriac_sqlite.transport import SqliteTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
HEADER = st.recursive(
    SCALAR, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["$bytes", "$", "$$x"]), inner)
)


@contextlib.asynccontextmanager
async def opened(folder: Path, *queues: Queue) -> AsyncIterator[SqliteTransport]:
    one = SqliteTransport([f"sqlite:///{folder}/q.db"], clock=SystemClock(), on_lost=print)
    await one.open()
    try:
        await one.declare(Topology.of(queues or [Queue("q")]))
        yield one
    finally:
        await one.close()


def message(name: object, **options: Any) -> Message:
    return Message(id=str(name), routing_key="q", **options)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one with each writing transaction."""
    counted: list[None] = []
    commit = Database.commit
    monkeypatch.setattr(Database, "commit", lambda self: (commit(self), counted.append(None))[0])
    return counted


@given(HEADER)
def test_headers_come_back_as_they_went(value: Any):
    assert load_headers(dump_headers(value)) == value


def test_a_header_that_no_broker_carries():
    with pytest.raises(Unsupported, match="datetime"):
        dump_headers({"when": datetime.now(UTC)})
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises((Unsupported, ValueError)):
        dump_headers({"x": endless})


def test_odd_text_survives(tmp_path: Path):
    """NULs, lone surrogates and quotes neither end a text nor poison the queue."""
    odd = ["a\0b", "\ud800", "'; DROP TABLE entry; --", "$bytes", "\N{SNOWMAN}"]

    async def live() -> None:
        async with opened(tmp_path) as one, one.consume(["q"], prefetch=10) as consumer:
            sent = [message(text, correlation_id=text, headers={text: text}) for text in odd]
            assert await one.publish(sent) == [CONFIRMED] * len(odd)
            assert [delivery.message for delivery in await consumer.receive(10, 1)] == sent

    asyncio.run(live())


def test_callers_share_transactions(tmp_path: Path, commits: list[None]):
    async def live() -> None:
        async with opened(tmp_path) as one:
            before = len(commits)
            receipts = await asyncio.gather(*(one.publish([message(n)]) for n in range(200)))
            assert receipts == [[CONFIRMED]] * 200
            assert len(commits) - before < 5
            assert (await one.depth("q")).ready == 200

    asyncio.run(live())


def test_the_fault_of_one_caller_harms_no_other(tmp_path: Path):
    async def live() -> None:
        async with opened(tmp_path) as one:
            good = [one.publish([message(n)]) for n in range(10)]
            bad = one.publish([message("bad"), message("worse", priority=5)])
            answers = await asyncio.gather(*good[:5], bad, *good[5:], return_exceptions=True)
            assert isinstance(answers.pop(5), Unsupported)
            assert answers == [[CONFIRMED]] * 10
            assert (await one.depth("q")).ready == 10

    asyncio.run(live())


def test_a_long_call_is_checked_before_its_first_part_is_written(tmp_path: Path):
    async def live() -> None:
        async with opened(tmp_path) as one:
            many = [message(n) for n in range(transport.TOGETHER * 3)]
            with pytest.raises(Unsupported, match="priority 1"):
                await one.publish([*many, message("bad", priority=1)])
            assert (await one.depth("q")).ready == 0
            receipts = await one.publish([*many, Message(id="lost", routing_key="nowhere")])
            assert [receipt.outcome for receipt in receipts[-2:]] == [Outcome.CONFIRMED, Outcome.RETURNED]
            assert [one.id for one in await one.peek("q", 2000)] == [sent.id for sent in many]

    asyncio.run(live())


def test_a_message_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "LARGEST", 1000)

    async def live() -> None:
        async with opened(tmp_path) as one:
            with pytest.raises(MessageTooLarge, match="keeps up to 1000"):
                await one.publish([message(1), message(2, body=b"x" * 1000)])
            assert (await one.depth("q")).ready == 0

    asyncio.run(live())


def test_large_bodies_pass_in_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows, "MOST_BYTES", 100_000)

    async def live() -> None:
        async with opened(tmp_path) as one, one.consume(["q"], prefetch=50) as consumer:
            sent = [message(n, body=bytes([n]) * n * 5000) for n in range(40)]
            await one.publish(sent)
            assert await one.peek("q", 50) == sent
            assert [delivery.message for delivery in await consumer.receive(50, 1)] == sent

    asyncio.run(live())


def test_what_falls_due_in_bulk_keeps_the_order_of_its_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claim, "MOST_PROMOTED", 7)

    async def live() -> None:
        async with opened(tmp_path) as one, one.consume(["q"], prefetch=100) as consumer:
            due = datetime.now(UTC) + timedelta(seconds=0.3)
            late = [message(f"late-{n}", not_before=due - timedelta(milliseconds=n)) for n in range(50)]
            await one.publish([*late, message("now")])
            got: list[str] = []
            while len(got) < 51:
                got += [delivery.message.id for delivery in await consumer.receive(100, 5)]
            assert got == ["now", *(f"late-{n}" for n in reversed(range(50)))]

    asyncio.run(live())


def test_purging_and_deleting_go_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tend, "STEP", 10)

    async def live() -> None:
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        async with opened(tmp_path) as one, one.consume(["q"], prefetch=5) as consumer:
            await one.publish([message(n) for n in range(35)])
            await one.publish([message(n, not_before=tomorrow) for n in range(15)])
            held = await consumer.receive(5, 1)
            assert await one.purge("q") == 45
            depth = await one.depth("q")
            assert (depth.ready, depth.running, depth.delayed) == (0, 5, 0)
            await one.publish([message(n) for n in range(35)])
            await one.delete("q")
            await one.declare(Topology.of([Queue("q", priorities=5)]))
            assert (await one.depth("q")).ready == 0
            receipts = await consumer.settle([Settlement(delivery.token) for delivery in held])
            assert receipts == [SettleReceipt.LOST] * 5
        with contextlib.closing(sqlite3.connect(tmp_path / "q.db")) as connection:
            left = "SELECT (SELECT count(*) FROM entry), (SELECT count(*) FROM message)"
            assert connection.execute(left).fetchone() == (0, 0)

    asyncio.run(live())


def test_a_deletion_that_was_interrupted_is_finished_by_the_next_opening(tmp_path: Path):
    async def die_in_between() -> None:
        async with opened(tmp_path) as one:
            await one.publish([message(n) for n in range(5)])
            await one._session.write(tend.condemn, "q")

    async def live() -> None:
        async with opened(tmp_path):
            pass

    asyncio.run(die_in_between())
    asyncio.run(live())
    with contextlib.closing(sqlite3.connect(tmp_path / "q.db")) as connection:
        assert connection.execute("SELECT count(*) FROM entry").fetchone() == (0,)
        assert connection.execute("SELECT name FROM queue").fetchall() == [("q",)]


def test_a_move_that_cannot_be_published_harms_no_other_settlement(tmp_path: Path):
    async def live() -> None:
        async with (
            opened(tmp_path) as one,
            one.consume(["q"], prefetch=1) as bad,
            one.consume(["q"], prefetch=1) as good,
        ):
            await one.publish([message(1), message(2)])
            (first,), (second,) = await bad.receive(1, 1), await good.receive(1, 1)
            nowhere = Move([Message(id="x", routing_key="nowhere")])
            answers = await asyncio.gather(
                bad.settle([Settlement(first.token, nowhere)]),
                good.settle([Settlement(second.token)]),
                return_exceptions=True,
            )
            assert [str(answers[0]), answers[1]] == [
                "no queue takes 'nowhere' from exchange ''",
                [SettleReceipt.DONE],
            ]
            assert await bad.settle([Settlement(first.token)]) == [SettleReceipt.DONE]

    asyncio.run(live())


def test_claiming_uses_the_index(tmp_path: Path):
    """Whatever the number of messages: no scan, no sort."""

    async def live() -> None:
        async with opened(tmp_path):
            pass

    asyncio.run(live())
    from celeriac_sqlite import queries

    with contextlib.closing(sqlite3.connect(tmp_path / "q.db")) as connection:
        for sql in (queries.NEXT, queries.FIRST_DUE, queries.DUE, queries.ANY_READY, queries.OURS, queries.OLDEST):
            names = dict.fromkeys(["queue", "limit", "now"], 1) | dict.fromkeys(["queues", "held", "priorities"], "[]")
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", names)]
            assert not [step for step in plan if "TEMP B-TREE" in step], plan
            assert not [step for step in plan if step.startswith(("SCAN entry", "SCAN e ", "SCAN message"))], plan
