"""Room 1: what the receiver does when its consumer fails it in other ways than by a lost connection."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from celeriac.errors import ConnectionLost, QueueNotFound, TransportError
from celeriac.message import Delivery, Message
from celeriac.testing import VirtualClock
from celeriac.transport import Capabilities
from celeriac.worker.pace import Pace
from celeriac.worker.receive import CHECK_EVERY, Receiver

RENEW = 2.0


class Consumer:
    """Delivers what it is given, and answers checks and renewals from lists."""

    def __init__(self, clock) -> None:
        self.clock = clock
        self.deliveries = []
        self.checks = []
        self.extensions = []
        self.extended = 0

    async def receive(self, limit, wait):
        if self.deliveries:
            return [self.deliveries.pop()]
        await self.clock.sleep(wait)
        return []

    async def check(self):
        return self.checks.pop(0) if self.checks else True

    async def extend(self, deliveries):
        self.extended += 1
        if self.extensions and (error := self.extensions.pop(0)):
            raise error
        return [True] * len(deliveries)

    async def set_prefetch(self, prefetch): ...

    async def stop(self): ...


class Broker:
    """A connection, its transport and its store, all well unless told otherwise."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.transport = self.store = self
        self.consumers = []
        self.entering = []
        self.declaring = []
        self.declared_again = 0

    async def ready(self): ...

    async def declare(self, names):
        if self.declaring and (error := self.declaring.pop(0)):
            raise error

    async def declare_again(self):
        self.declared_again += 1
        raise ConnectionLost("gone while declaring")

    def capabilities(self, name=""):
        return Capabilities(renew_every=timedelta(seconds=RENEW))

    @asynccontextmanager
    async def consume(self, queues, *, prefetch):
        if self.entering and (error := self.entering.pop(0)):
            raise error
        self.consumers.append(Consumer(self.clock))
        yield self.consumers[-1]


@asynccontextmanager
async def receiving(broker):
    arrived = []

    async def nothing() -> None: ...

    receiver = Receiver(
        broker,
        ["mail"],
        Pace(2, 0),
        broker.clock,
        arrived=arrived.append,
        stuck=lambda: None,
        ready=nothing,
    )
    running = asyncio.create_task(receiver.run())
    await broker.clock.advance(0)
    try:
        yield arrived, running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_a_broker_that_does_not_know_us_is_asked_to_let_us_consume_anew() -> None:
    async def main() -> None:
        broker = Broker()
        async with receiving(broker):
            await broker.clock.advance(10 * CHECK_EVERY)
            assert len(broker.consumers) == 1, "as long as it agrees"
            broker.consumers[0].checks = [False]
            await broker.clock.advance(2 * CHECK_EVERY)
            assert len(broker.consumers) == 2

    asyncio.run(main())


@pytest.mark.parametrize("error", [ConnectionLost("the other link is gone"), TransportError("not now")])
def test_a_hold_that_could_not_be_renewed_is_tried_again(error) -> None:
    async def main() -> None:
        broker = Broker()
        async with receiving(broker) as (arrived, _):
            consumer = broker.consumers[0]
            consumer.extensions = [error, error]
            consumer.deliveries = [Delivery(message=Message(id="a"), queue="mail", token=1)]
            await broker.clock.advance(4 * RENEW + 1)
            assert [arrival.delivery.token for arrival in arrived] == [1]
            assert consumer.extended >= 3
            assert len(broker.consumers) == 1

    asyncio.run(main())


def test_a_loss_while_declaring_ends_nothing() -> None:
    async def main() -> None:
        broker = Broker()
        broker.declaring = [ConnectionLost("gone")]
        broker.entering = [QueueNotFound("deleted")]
        async with receiving(broker) as (_, running):
            await broker.clock.advance(1)
            assert not running.done()
            assert broker.declared_again == 1
            assert len(broker.consumers) == 1

    asyncio.run(main())
