"""The consumer of a simulated process, and how it settles at a broker that has no transactions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.errors import TransportError, Unroutable
from celeriac.message import ACK, Dead, Move, Settlement, SettleReceipt
from celeriac.transport import Consumer
from celeriac.transport_helpers import dead_letter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.message import Delivery, Message
    from celeriac.testing.simulation.broker import Outside
    from celeriac.testing.simulation.transport import Wire
    from celeriac.transport import Transport


class SimulatedConsumer(Consumer):
    """A window on queues, at the other end of a wire."""

    def __init__(self, wire: Wire, outside: Outside, broker: Transport, inner: Consumer) -> None:
        """Reach ``inner``, a consumer of ``broker``, over ``wire``."""
        self._wire = wire
        self._outside = outside
        self._ledger = outside.ledger
        self._broker = broker
        self._inner = inner
        self._unsettled: dict[object, Delivery] = {}
        self._late: list[Delivery] = []

    async def receive(self, limit: int, wait: float) -> Sequence[Delivery]:
        """Return deliveries, once they have travelled."""
        if not self._late:
            await self._wire.out()
            try:
                self._late += await self._receive(limit, wait)
            except TransportError:
                await self._wire.back()
                raise
        await self._wire.back()  # cancelled here, the next call returns them
        late, self._late = self._late[:limit], self._late[limit:]
        return late

    async def _receive(self, limit: int, wait: float) -> Sequence[Delivery]:
        deliveries = await self._inner.receive(limit, wait)
        for delivery in deliveries:
            self._ledger.delivered(delivery)
            self._unsettled[delivery.token] = delivery
        return [self._as_told(delivery) for delivery in deliveries]

    def _as_told(self, delivery: Delivery) -> Delivery:
        """Return what a broker of this shape tells of a delivery."""
        shape = self._outside.shape
        if shape.leased:
            return delivery
        returns = self._ledger.copy_of(delivery).handed - 1 if shape.tells_returns else None
        return replace(delivery, delivery_count=None, lease_until=None, returns=returns)

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettleReceipt]:
        """Settle, as the shape of the broker has it."""
        await self._wire.out()
        leased, numbered = self._outside.shape.leased, self._with_numbers(settlements)
        receipts = await self._inner.settle(numbered if leased else await self._published(numbered))
        for settlement, receipt in zip(numbered, receipts, strict=True):
            delivery = self._unsettled.pop(settlement.token, None)
            if delivery is None or receipt is not SettleReceipt.DONE:
                continue
            if leased and isinstance(settlement.action, Move):
                self._ledger.stored(settlement.action.messages)
            self._ledger.settled(delivery, settlement.action)
        await self._wire.back()
        return receipts if leased else [SettleReceipt.SENT] * len(receipts)

    def _with_numbers(self, settlements: Sequence[Settlement]) -> list[Settlement]:
        """Give every message that replaces a delivery a number."""
        told = []
        for settlement in settlements:
            delivery, action = self._unsettled.get(settlement.token), settlement.action
            if delivery is not None:
                self._outside.runs.settling(delivery, action)
            if delivery is not None and isinstance(action, Move):
                parent = self._ledger.copy_of(delivery)
                action = Move([self._ledger.stamped(message, parent) for message in action.messages])
            told.append(replace(settlement, action=action))
        return told

    async def _published(self, settlements: Sequence[Settlement]) -> list[Settlement]:
        """Publish what replaces deliveries, as a broker without transactions does; what is left is to ack them."""
        acks = []
        for settlement in settlements:
            messages = self._replacing(settlement)
            if messages:
                receipts = await self._broker.publish(messages)
                if not all(receipt.ok for receipt in receipts):
                    raise Unroutable(f"not moved: {receipts}")
                self._ledger.stored(messages)
            acks.append(replace(settlement, action=ACK) if messages else settlement)
        if any(settlement.action is ACK for settlement in acks):
            await self._wire.out()
        return acks

    def _replacing(self, settlement: Settlement) -> Sequence[Message]:
        action, delivery = settlement.action, self._unsettled.get(settlement.token)
        if delivery is None:
            return ()
        if isinstance(action, Move):
            return action.messages
        if isinstance(action, Dead):
            letter = dead_letter(delivery, action.letter, self._outside.clock.now())
            return [self._ledger.stamped(letter, self._ledger.copy_of(delivery))]
        return ()

    async def leaves(self) -> None:
        """Take note that what is still ours goes back in peace."""
        deliveries = list(self._unsettled.values())
        for delivery, still_ours in zip(deliveries, await self._inner.extend(deliveries), strict=True):
            if still_ours:
                self._outside.runs.left(delivery)
                self._ledger.returned(delivery)

    async def extend(self, deliveries: Sequence[Delivery]) -> Sequence[bool]:
        """Renew the leases."""
        return await self._wire.ask(lambda: self._inner.extend(deliveries))

    async def set_prefetch(self, prefetch: int) -> None:
        """Change how many may be held."""
        await self._wire.ask(lambda: self._inner.set_prefetch(prefetch))

    async def check(self) -> bool:
        """Return whether the broker still serves this window."""
        return await self._wire.ask(self._inner.check)

    async def stop(self) -> None:
        """Take nothing more."""
        await self._wire.ask(self._inner.stop)
