"""Long holds: RabbitMQ closes the channel of whoever holds a delivery for longer than its ``consumer_timeout``.

That is 30 minutes by default, and AMQP cannot read the setting; every task of the channel would run once more. So a
delivery that was held for ``hold_limit`` is moved: published, confirmed, to a lease queue of the worker's own, taken
from there by the same worker, and only then acked on its first queue. A worker that dies in between leaves a
duplicate, never a loss. What lies in the lease queue untaken goes back to its task queue after `LEASE`: a message that
was held beyond that, as soon as its holder is gone.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.errors import TransportError
from celeriac.message import REQUEUE
from celeriac_amqp.properties import LEASE_HEADER, decode_properties, with_route
from celeriac_amqp.successors import successor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from celeriac.message import Delivery, Message
    from celeriac_amqp.connection import Channel
    from celeriac_amqp.transport import AmqpTransport
    from celeriac_amqp.window import Token

logger = logging.getLogger("celeriac.amqp")

LEASE = 60.0  # seconds; far above the moment between publishing a copy and taking it
UNUSED = 600.0  # seconds after which a lease queue that nobody uses goes


class _Held(NamedTuple):
    """A delivery that we hold on a lease queue: since when, its lease, its tag there, and what it was."""

    since: float
    lease: _Lease
    tag: int
    delivery: Delivery


@dataclass(slots=True)
class _Lease:
    """A lease queue, the channel on which we consume it, and the copies that are on their way there."""

    name: str
    channel: Channel
    coming: dict[str, asyncio.Future[int]]

    def arrived(self, _raw: object, method: Any, properties: bytes, _body: bytes) -> None:
        mark = (decode_properties(properties).headers or {}).get(LEASE_HEADER)
        waiter = self.coming.pop(mark, None) if isinstance(mark, str) else None
        if waiter is None or waiter.done():
            # a copy that was given up: the delivery that it was made of is still held, or has been settled
            self.channel.raw.basic_ack(method.delivery_tag)
        else:
            waiter.set_result(method.delivery_tag)


class Holds:
    """What one consumer holds on lease queues, by the tokens that its caller knows."""

    def __init__(self, transport: AmqpTransport, failed: Callable[[TransportError], None]) -> None:
        """Hold nothing yet.

        Args:
            transport: the consumer's.
            failed: called when a lease's channel is lost, and what it held with it.
        """
        self._transport = transport
        self._failed = failed
        self._held: dict[Token, _Held] = {}
        self._leases: dict[str, _Lease] = {}
        self._moving: set[Token] = set()

    def __contains__(self, token: object) -> bool:
        """Return whether the delivery of ``token`` is held here."""
        return token in self._held

    def get(self, token: Token) -> Delivery | None:
        """Return the delivery that is held here for ``token``."""
        held = self._held.get(token)
        return held.delivery if held else None

    def since(self, token: Token) -> float:
        """Return when the copy that is held for ``token`` arrived."""
        return self._held[token].since

    def settle(self, token: Token) -> bool:
        """Ack what is held here for ``token``; ``False`` if nothing is."""
        held = self._held.pop(token, None)
        if held is not None:
            held.lease.channel.raw.basic_ack(held.tag)
        return held is not None

    async def move(self, deliveries: Sequence[Delivery], swap: Callable[[Token], Awaitable[bool]]) -> None:
        """Move ``deliveries`` to lease queues, and take them from there.

        Args:
            deliveries: held for too long, on their task queues or here.
            swap: lets go of a delivery's first hold; ``False`` if it was settled meanwhile.
        """
        moving = [delivery for delivery in deliveries if delivery.token not in self._moving]
        tokens: set[Any] = {delivery.token for delivery in moving}
        self._moving |= tokens
        try:
            copies = [await self._copy(delivery) for delivery in moving]
            receipts = await self._transport.publish_unchecked([copy for _, _, copy in copies])
            for delivery, (lease, coming, _), receipt in zip(moving, copies, receipts, strict=True):
                if receipt.ok:
                    await self._take(delivery, lease, await coming, swap)
                else:
                    coming.cancel()
                    logger.warning("could not renew the hold on message %r: %s", delivery.message.id, receipt)
        finally:
            self._moving -= tokens

    async def give_back(self) -> None:
        """Return everything to its task queue."""
        held = list(self._held.items())
        now = self._transport.clock.now()
        receipts = await self._transport.publish_unchecked([successor(h.delivery, REQUEUE, now) for _, h in held])
        for (token, _), receipt in zip(held, receipts, strict=True):
            if receipt.ok:
                self.settle(token)

    async def close(self) -> None:
        """End the leases; never raises. What is still in one goes back by itself."""
        leases, self._leases = self._leases, {}
        in_use = {held.lease.name for held in self._held.values()}
        for lease in leases.values():
            lease.channel.on_closed = _nobody
            await lease.channel.close()
            if lease.name not in in_use:
                with suppress(TransportError):
                    async with self._transport.control().scratch() as channel:
                        await channel.call("queue_delete", lease.name)

    async def _copy(self, delivery: Delivery) -> tuple[_Lease, asyncio.Future[int], Message]:
        lease = self._leases.get(delivery.queue)
        if lease is None:
            lease = self._leases[delivery.queue] = await self._begin(delivery.queue)
        mark = uuid.uuid4().hex
        coming = lease.coming[mark] = asyncio.get_running_loop().create_future()
        headers = {**with_route(delivery.message), LEASE_HEADER: mark}
        copy = replace(delivery.message, exchange="", routing_key=lease.name, headers=headers, mandatory=True)
        return lease, coming, copy

    async def _take(
        self, delivery: Delivery, lease: _Lease, tag: int, swap: Callable[[Token], Awaitable[bool]]
    ) -> None:
        token: Any = delivery.token
        earlier = self._held.get(token)
        new = _Held(self._transport.clock.monotonic(), lease, tag, delivery)
        if earlier is not None:
            earlier.lease.channel.raw.basic_ack(earlier.tag)
            self._held[token] = new
        elif await swap(token):
            self._held[token] = new
        else:
            lease.channel.raw.basic_ack(tag)

    async def _begin(self, queue: str) -> _Lease:
        name = f"celeriac.lease.{uuid.uuid4().hex}"
        arguments = {
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",
            "x-message-ttl": int(LEASE * 1000),
            "x-expires": int(UNUSED * 1000),
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue,
            "x-dead-letter-strategy": "at-least-once",
        }
        channel = await self._transport.control().channel()
        lease = _Lease(name, channel, {})
        await channel.call("queue_declare", name, durable=True, arguments=arguments)
        await channel.call("basic_consume", name, lease.arrived)
        channel.on_closed = lambda error: self._lost(lease, error)
        return lease

    def _lost(self, lease: _Lease, error: TransportError) -> None:
        for waiter in lease.coming.values():
            if not waiter.done():
                waiter.set_exception(error)
        self._failed(error)


def _nobody(_error: object) -> None:
    """Hear of an end that was our own."""
