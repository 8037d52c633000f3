"""Room 5: results are stored before deliveries are settled, whatever the store and the broker do meanwhile."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from celeriac.errors import ConnectionLost, MessageTooLarge, PublishNacked, PublishUnconfirmed, Unsupported
from celeriac.message import ACK, CONFIRMED, REQUEUE, Dead, DeadLetter, Move, Requeue, SettleReceipt
from celeriac.results import ResultRecord
from celeriac.testing import VirtualClock
from celeriac.worker.settle import AT_ONCE, FIRST_PAUSE, GIVE_BACK, STORE_ATTEMPTS, Item, Settler
from celeriac.worker.verdict import Verdict

DONE, LOST = SettleReceipt.DONE, SettleReceipt.LOST


class FakeStore:
    """Writes down what it is given, and refuses it as it is told."""

    def __init__(self, journal) -> None:
        self.journal = journal
        self.refusals = []
        self.largest = 100

    async def put(self, records):
        if self.refusals:
            raise self.refusals.pop(0)
        for record in records:
            if len(record.body) > self.largest and record.state == "SUCCESS":
                raise MessageTooLarge(f"{len(record.body)} bytes")
        self.journal.append(("put", [record.task_id for record in records]))
        self.records = records
        return [True] * len(records)


class FakeConsumer:
    """Writes down what it settles; a token in ``refuses`` raises, whatever is settled beside it."""

    def __init__(self, journal) -> None:
        self.journal = journal
        self.refuses = {}
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def settle(self, settlements):
        self.entered.set()
        await self.gate.wait()
        for settlement in settlements:
            error = self.refuses.get((settlement.token, type(settlement.action)))
            if error is not None:
                raise error
        self.journal.append(("settle", [(settlement.token, settlement.action) for settlement in settlements]))
        return [DONE] * len(settlements)


class Bench:
    """A settler at work, with what it stands between."""

    def __init__(self, deliver) -> None:
        self.journal = []
        self.told = []
        self.store = FakeStore(self.journal)
        self.consumer = FakeConsumer(self.journal)
        self.clock = VirtualClock()
        self.settler = Settler(self.store, self.clock, self.settled_one, self.publish)
        self._deliver = deliver

    def settled_one(self, item, receipt) -> None:
        self.told.append((item, receipt))

    async def publish(self, messages):
        self.journal.append(("publish", [message.id for message in messages]))
        return [CONFIRMED] * len(messages)

    def item(self, action=ACK, body=b"1", consumer=None, why="succeeded") -> Item:
        delivery = self._deliver()
        record = None
        if body is not None:
            record = ResultRecord(task_id=str(delivery.token), attempt=1, state="SUCCESS", body=body)
        return Item(consumer or self.consumer, delivery, Verdict(why=why, action=action, record=record))

    def add(self, *items: Item) -> tuple[Item, ...]:
        for item in items:
            self.settler.add(item)
        return items

    async def drained(self) -> None:
        """Let time pass until all is written."""
        drained = asyncio.create_task(self.settler.drain())
        while not drained.done():
            await self.clock.advance(FIRST_PAUSE)

    @property
    def settled(self) -> dict:
        return dict(pair for what, pairs in self.journal if what == "settle" for pair in pairs)


@pytest.fixture
def bench(deliver):
    @asynccontextmanager
    async def at_work():
        bench = Bench(deliver)
        running = asyncio.create_task(bench.settler.run())
        try:
            async with asyncio.timeout(10):
                yield bench
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    return at_work


def token(item: Item):
    return item.delivery.token


def test_results_are_stored_before_anything_is_settled(bench) -> None:
    async def main():
        async with bench() as b:
            one, two = b.add(b.item(), b.item())
            await b.drained()
            ids = [str(token(one)), str(token(two))]
            assert b.journal == [("put", ids), ("settle", [(token(one), ACK), (token(two), ACK)])]
            assert b.told == [(one, DONE), (two, DONE)]

    asyncio.run(main())


def test_the_store_is_left_alone_when_there_is_no_result(bench) -> None:
    async def main():
        async with bench() as b:
            (item,) = b.add(b.item(body=None))
            await b.drained()
            assert b.journal == [("settle", [(token(item), ACK)])]

    asyncio.run(main())


def test_a_result_without_an_action_is_only_stored(bench) -> None:
    async def main():
        async with bench() as b:
            (item,) = b.add(b.item(action=None))
            await b.drained()
            assert b.journal == [("put", [str(token(item))])]
            assert b.told == []

    asyncio.run(main())


def test_what_gathers_while_a_batch_is_written_goes_together(bench) -> None:
    async def main():
        async with bench() as b:
            b.consumer.gate.clear()
            b.add(b.item())
            await b.consumer.entered.wait()
            b.add(*(b.item() for _ in range(5)))
            b.consumer.gate.set()
            await b.drained()
            assert [len(what) for _, what in b.journal] == [1, 1, 5, 5]

    asyncio.run(main())


def test_a_batch_has_a_size(bench) -> None:
    async def main():
        async with bench() as b:
            b.add(*(b.item(body=None) for _ in range(AT_ONCE + 1)))
            await b.drained()
            assert [len(what) for _, what in b.journal] == [AT_ONCE, 1]

    asyncio.run(main())


def test_each_delivery_is_settled_by_its_own_consumer(bench) -> None:
    async def main():
        async with bench() as b:
            journal = []
            other = FakeConsumer(journal)
            mine, others = b.add(b.item(body=None), b.item(body=None, consumer=other))
            await b.drained()
            assert b.journal == [("settle", [(token(mine), ACK)])]
            assert journal == [("settle", [(token(others), ACK)])]

    asyncio.run(main())


def test_drain_returns_only_when_all_is_written(bench) -> None:
    async def main():
        async with bench() as b:
            b.consumer.gate.clear()
            b.add(b.item())
            drained = asyncio.create_task(b.settler.drain())
            await b.consumer.entered.wait()
            assert not drained.done()
            b.consumer.gate.set()
            await drained
            assert len(b.told) == 1

    asyncio.run(main())


# a store that fails


def test_a_store_that_comes_back_in_time_costs_nothing(bench) -> None:
    async def main():
        async with bench() as b:
            b.store.refusals = [ConnectionLost("gone")] * (STORE_ATTEMPTS - 1)
            (item,) = b.add(b.item())
            await b.drained()
            assert b.settled == {token(item): ACK}
            assert b.clock.monotonic() == pytest.approx(FIRST_PAUSE * (1 + 2 + 4 + 8), abs=FIRST_PAUSE)

    asyncio.run(main())


def test_no_result_no_ack_and_the_others_are_not_held_to_it(bench) -> None:
    async def main():
        async with bench() as b:
            b.store.refusals = [PublishUnconfirmed("silence")] * STORE_ATTEMPTS
            move, begun = Move((b.item().delivery.message,)), b.item(body=None, why="begun")
            with_result, moved, early = b.add(b.item(), b.item(move, body=None), b.item(action=None))
            b.add(begun)
            await b.drained()
            assert b.settled == {token(with_result): Requeue(GIVE_BACK), token(moved): move, token(begun): ACK}
            assert token(early) not in b.settled, "it was acknowledged when it began: never run it again"

    asyncio.run(main())


def test_a_result_that_is_too_large_is_a_failure_and_harms_no_other(bench) -> None:
    async def main():
        async with bench() as b:
            stored = {}
            put = b.store.put

            async def keep(records):
                answer = await put(records)
                stored.update({record.task_id: record for record in records})
                return answer

            b.store.put = keep
            one, large, two = b.add(b.item(), b.item(body=b"x" * 101), b.item())
            await b.drained()
            assert b.settled == {token(one): ACK, token(large): ACK, token(two): ACK}
            assert [stored[str(token(item))].state for item in (one, large, two)] == ["SUCCESS", "FAILURE", "SUCCESS"]
            error = json.loads(stored[str(token(large))].body)
            assert (error["exc_type"], error["exc_message"]) == ("MessageTooLarge", ["101 bytes"])

    asyncio.run(main())


def test_a_state_that_is_not_final_and_too_large_is_dropped_and_nothing_else(bench, caplog) -> None:
    async def main():
        async with bench() as b:
            (item,) = b.add(b.item())
            await b.drained()
            record = replace(item.verdict.record, state="PROGRESS")
            b.store.refusals = [MessageTooLarge("no")]
            b.add(replace(item, verdict=Verdict(why="progress", action=None, record=record)))
            await b.drained()
            assert b.settled == {token(item): ACK}
            assert [record.state for record in b.store.records] == ["SUCCESS"]

    asyncio.run(main())
    assert "is PROGRESS: no" in caplog.text


def test_a_failure_that_is_too_large_too_ends_the_trying(bench) -> None:
    async def main():
        async with bench() as b:
            b.store.refusals = [MessageTooLarge("no"), MessageTooLarge("no")]
            (item,) = b.add(b.item())
            await b.drained()
            assert b.settled == {token(item): Requeue(GIVE_BACK)}

    asyncio.run(main())


# a broker that fails


def test_a_lost_connection_is_told_as_lost(bench) -> None:
    async def main():
        async with bench() as b:
            (item,) = b.add(b.item())
            b.consumer.refuses[token(item), type(ACK)] = ConnectionLost("gone")
            await b.drained()
            assert b.told == [(item, LOST)]

    asyncio.run(main())


@pytest.mark.parametrize("action", [Move(()), Dead(DeadLetter(reason="crashed"))])
def test_one_of_several_that_cannot_be_written_is_given_back_apart(bench, action) -> None:
    async def main():
        async with bench() as b:
            one, moved, two = b.add(b.item(), b.item(action, body=None), b.item())
            b.consumer.refuses[token(moved), type(action)] = PublishNacked("full")
            await b.drained()
            assert b.settled == {token(one): ACK, token(moved): Requeue(GIVE_BACK), token(two): ACK}
            assert [token(item) for item, _ in b.told] == [token(one), token(moved), token(two)]

    asyncio.run(main())


def test_a_broker_without_delays_gets_it_back_at_once(bench) -> None:
    async def main():
        async with bench() as b:
            (item,) = b.add(b.item(Requeue(timedelta(seconds=9)), body=None))
            refusals = [Unsupported("no delays")]

            async def settle(settlements):
                if refusals:
                    raise refusals.pop()
                b.journal.append(("settle", [(each.token, each.action) for each in settlements]))
                return [DONE]

            b.consumer.settle = settle
            await b.drained()
            assert b.settled == {token(item): REQUEUE}

    asyncio.run(main())


def test_what_cannot_even_be_given_back_is_told_as_lost(bench) -> None:
    async def main():
        async with bench() as b:
            (item,) = b.add(b.item(REQUEUE, body=None))
            b.consumer.refuses[token(item), Requeue] = PublishNacked("no")
            await b.drained()
            assert b.told == [(item, LOST)]
            assert b.settled == {}

    asyncio.run(main())


def test_the_next_attempt_of_what_was_acknowledged_early_is_published_and_not_settled(bench):
    async def main():
        async with bench() as at_work:
            item = at_work.item(action=None)
            copy = item.delivery.message
            at_work.add(replace(item, verdict=replace(item.verdict, publish=(copy,))))
            await at_work.drained()
            assert [what for what, _ in at_work.journal] == ["put", "publish"]

    asyncio.run(main())
