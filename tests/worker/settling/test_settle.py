"""Room 5: results are stored before deliveries are settled, whatever the store does meanwhile."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from celeriac.errors import (
    ConnectionLost,
    MessageTooLarge,
    PublishUnconfirmed,
)
from celeriac.message import ACK, Dead, DeadLetter, Move, Requeue, SettleReceipt
from celeriac.worker.settle import AT_ONCE, FIRST_PAUSE, GIVE_BACK, STORE_ATTEMPTS, Item
from celeriac.worker.verdict import Verdict

DONE, LOST = SettleReceipt.DONE, SettleReceipt.LOST


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
            other = type(b.consumer)(journal)
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


def test_a_death_sentence_on_what_was_lost_is_left_to_who_has_it_now(bench) -> None:
    """Its failure must not stand before the success that another worker may make of it."""

    async def main():
        async with bench() as b:
            dead = Dead(DeadLetter(reason="crashed", attempts=3, worker="w@here"))
            lost, ours, done = b.item(dead), b.item(dead), b.item()
            b.lost = {token(lost), token(done)}
            b.add(lost, ours, done)
            await b.drained()
            ids = [str(token(ours)), str(token(done))]
            assert b.journal == [("put", ids), ("settle", [(token(ours), ours.verdict.action), (token(done), ACK)])]
            assert (lost, LOST) in b.told

    asyncio.run(main())
