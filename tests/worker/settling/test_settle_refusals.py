"""Room 5, with a broker that does not take what it is to write."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from celeriac.errors import (
    ConfigurationError,
    ConnectionLost,
    MessageTooLarge,
    PublishNacked,
    Unsupported,
)
from celeriac.message import ACK, REQUEUE, Dead, DeadLetter, Move, Requeue, SettleReceipt
from celeriac.worker.settle import GIVE_BACK, STORE_ATTEMPTS, Item

DONE, LOST = SettleReceipt.DONE, SettleReceipt.LOST


def token(item: Item):
    return item.delivery.token


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


def test_what_is_too_large_to_be_sent_on_is_set_aside_and_its_caller_is_told(bench):
    async def main():
        async with bench() as b:
            item = b.item(Move(()))
            record = replace(item.verdict.record, state="RETRY")
            b.add(replace(item, verdict=replace(item.verdict, why="retry", record=record)))
            b.consumer.refuses[token(item), Move] = MessageTooLarge("its headers")
            await b.drained()
            assert b.settled == {token(item): Dead(DeadLetter(reason="unsendable", detail="retry, but its headers"))}
            assert [record.state for record in b.store.records] == ["FAILURE"]

    asyncio.run(main())


def test_what_can_be_neither_sent_on_nor_set_aside_goes_back_at_once(bench):
    async def main():
        async with bench() as b:
            item = b.item(Requeue(GIVE_BACK), body=None)
            b.add(item)

            async def settle(settlements):
                (settlement,) = settlements
                if isinstance(settlement.action, Dead):
                    raise PublishNacked("full")
                if settlement.action != REQUEUE:
                    raise MessageTooLarge("its headers")
                b.journal.append(("settle", [(settlement.token, settlement.action)]))
                return [DONE]

            b.consumer.settle = settle
            await b.drained()
            assert b.settled == {token(item): REQUEUE}

    asyncio.run(main())


@pytest.mark.parametrize("at", ["put", "settle"])
def test_a_configuration_that_cannot_work_ends_nothing(bench, at):
    async def main():
        async with bench() as b:
            wrong = ConfigurationError("priority 11")
            one, two = b.item(), b.item(Move(()), body=None)
            if at == "put":
                b.store.refusals = [wrong] * STORE_ATTEMPTS
            else:
                b.consumer.refuses[token(two), Move] = wrong
            b.add(one, two)
            await b.drained()
            aside = Dead(DeadLetter(reason="unsendable", detail="succeeded, but priority 11"))
            expected = (Requeue(GIVE_BACK), Move(())) if at == "put" else (ACK, aside)
            assert b.settled == dict(zip((token(one), token(two)), expected, strict=True))

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
