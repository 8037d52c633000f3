"""Losing the connection: noticed once, by everyone, and never answered with a lie."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import pytest

from celeriac.errors import ConnectionLost, TransportError
from celeriac.message import Outcome, Settlement
from celeriac.testing.conformance.case import eventually, patience, unique
from celeriac.testing.conformance.clauses import clause
from celeriac.testing.conformance.transport_case import (
    TransportCase,
    ids,
    message_to,
    nothing,
    settled,
    take,
    take_all,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class LossTests(TransportCase):
    """Clauses LOSS-*. The author's fixture ``cut`` severs the connection of a transport."""

    def prepare(self, urls: Sequence[str], **given: object) -> None:
        """Note what `on_lost` is told."""
        super().prepare(urls, **given)
        self.losses: list[TransportError] = []

    async def _cut(self, transport: object) -> None:
        answer = self.gift("cut")(transport)
        if inspect.isawaitable(answer):
            await answer

    @clause("LOSS-1")
    async def test_everyone_is_told(self) -> None:
        """`on_lost` once; a waiting `receive`, the next one, `settle`, and a listener raise `ConnectionLost`."""
        self.gift("cut")
        transport = await self.open(on_lost=self.losses.append)
        queue = await self.queue(transport)
        await self.filled(transport, queue, 1)
        listening = transport.listen(unique("kit"))
        async with transport.consume([queue.name], prefetch=5) as consumer, listening as heard:
            (held,) = await take(consumer, 1)
            receiving = asyncio.ensure_future(consumer.receive(1, 4 * patience.get()))
            hearing = asyncio.ensure_future(anext(heard))
            await asyncio.wait([receiving, hearing], timeout=0.1)
            await self._cut(transport)
            async with asyncio.timeout(patience.get()):
                with pytest.raises(ConnectionLost):
                    await receiving
                with pytest.raises(ConnectionLost):
                    await hearing
                with pytest.raises(ConnectionLost):
                    await consumer.receive(1, 1)
                with pytest.raises(ConnectionLost):
                    await consumer.settle([Settlement(held.token)])
                assert not await consumer.check()
        assert len(self.losses) == 1
        assert isinstance(self.losses[0], ConnectionLost)

    @clause("LOSS-2", "RCV-8", "SET-7")
    async def test_opening_again(self) -> None:
        """The same transport works again, what was held comes back, and the old consumer stays dead."""
        self.gift("cut")
        transport = await self.open(on_lost=self.losses.append)
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 2)
        old = await self.consume(transport, queue, prefetch=1)
        (held,) = await take(old, 1)
        await self._cut(transport)
        await eventually(self._lost, bool)
        await transport.open()
        with pytest.raises(ConnectionLost):
            await old.receive(1, 1)
        consumer = await self.consume(transport, queue)
        redelivered = {}
        for _ in messages:  # settled as they come: what was held may come a whole lease after the other
            (delivery,) = await take(consumer, 1)
            redelivered[delivery.message.id] = delivery.redelivered
            await settled(consumer, [delivery])
        assert redelivered.keys() == {*ids(messages)}
        assert redelivered[held.message.id]
        assert len(self.losses) == 1

    async def _lost(self) -> bool:
        return bool(self.losses)

    @clause("LOSS-3", "LIFE-6")
    async def test_no_false_confirmation(self) -> None:
        """Of the publishes under way when the connection goes, each that was confirmed is there afterwards."""
        self.gift("cut")
        transport, witness = await self.open(on_lost=self.losses.append), await self.first()
        queue = await self.queue(witness)
        batches = [[message_to(queue, body=b"x" * 5_000) for _ in range(5)] for _ in range(40)]
        publishing = [asyncio.ensure_future(transport.publish(batch)) for batch in batches]
        await asyncio.wait(publishing, return_when=asyncio.FIRST_COMPLETED)
        await self._cut(transport)
        async with asyncio.timeout(patience.get()):
            answers = await asyncio.gather(*publishing, return_exceptions=True)
        confirmed, possible = set[str](), set[str]()
        for batch, answer in zip(batches, answers, strict=True):
            if isinstance(answer, BaseException):
                assert isinstance(answer, TransportError), f"not mapped: {answer!r}"
                continue
            for message, receipt in zip(batch, answer, strict=True):
                assert receipt.outcome in {Outcome.CONFIRMED, Outcome.UNCONFIRMED, Outcome.NOT_SENT}
                if receipt.ok:
                    confirmed.add(message.id)
                if receipt.outcome is not Outcome.NOT_SENT:
                    possible.add(message.id)
        consumer = await self.consume(witness, queue, prefetch=1000)
        arrived = {*ids(await take_all(consumer, 1))}
        assert confirmed <= arrived, "confirmed, and not there"
        assert arrived <= possible, "not sent, or raised, and there all the same"
        await nothing(consumer)

    @clause("LOSS-1")
    async def test_closing_is_no_loss(self) -> None:
        """Nobody is told of a connection that we closed ourselves."""
        transport = await self.open(on_lost=self.losses.append)
        await transport.close()
        await asyncio.sleep(0.1)
        assert not self.losses
