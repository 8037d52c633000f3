"""A settler at work between a store and a consumer that write down what they are asked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from celeriac.errors import (
    MessageTooLarge,
)
from celeriac.message import ACK, CONFIRMED, SettleReceipt
from celeriac.results import ResultRecord
from celeriac.testing import VirtualClock
from celeriac.worker.settle import FIRST_PAUSE, Item, Settler
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
        self.lost = set()  # tokens of deliveries that somebody else has now
        self.settler = Settler(self.store, self.clock, self.settled_one, self.publish, self.is_ours)
        self._deliver = deliver

    def settled_one(self, item, receipt) -> None:
        self.told.append((item, receipt))

    def is_ours(self, item) -> bool:
        return item.delivery.token not in self.lost

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
