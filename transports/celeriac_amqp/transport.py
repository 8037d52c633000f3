"""The transport: RabbitMQ behind the port."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, MessageTooLarge, PublishErrors, QueueNotFound, Unsupported
from celeriac.message import Message, Outcome, Receipt
from celeriac.topology import DEFAULT_EXCHANGE, Queue
from celeriac.transport import Capabilities, Depth, Transport
from celeriac.transport_helpers import refuse_unsupported
from celeriac_amqp.address import Nodes, parse
from celeriac_amqp.connection import Session
from celeriac_amqp.consumer import AmqpConsumer
from celeriac_amqp.declaring import Declarations, priority_levels
from celeriac_amqp.delays import LONGEST, Delays, delay_key, entry, seconds_until
from celeriac_amqp.pausing import PAUSED_SUFFIX, Pauses
from celeriac_amqp.properties import decode_properties, encode_properties, to_message
from celeriac_amqp.publishing import Outgoing, Publisher
from celeriac_amqp.revocations import RevocationStream
from celeriac_amqp.signals import EXCHANGE, QUEUES_TOPIC, listening, make_exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from celeriac.clock import Clock
    from celeriac.errors import TransportError
    from celeriac.topology import Topology
    from celeriac.transport import Consumer, Revocations

DELAY_RESOLUTION = timedelta(seconds=1.5)  # rounded up to a whole second, and some milliseconds a hop


class AmqpTransport(Transport):
    """RabbitMQ 3.10 and later.

    Two connections: *in*, opened by `open`, for declaring, consuming and settling; *out*, opened by the first publish
    and again whenever it was lost, for publishing with confirms. Losing *in* is a loss (``on_lost``); losing *out*
    leaves what it was publishing ``UNCONFIRMED``.

    Cancelling `publish` while the broker confirms nothing (for a second, or because it blocks publishers) resets *out*
    so that what was given up is not read by the broker later; every other publish under way is then ``UNCONFIRMED``.
    """

    def __init__(self, urls: Sequence[str], *, clock: Clock, on_lost: Callable[[TransportError], None]) -> None:
        """Read the URLs; see `celeriac_amqp.address.Options`. What speaks of queues is read from the first."""
        super().__init__(urls, clock=clock, on_lost=on_lost)
        addresses = [parse(url) for url in urls]
        self.nodes = Nodes(addresses)
        self.options = addresses[0].options
        self.declarations = Declarations(self.options.default_type, self.control)
        self.pauses = Pauses(self.control)
        self._publisher = Publisher(self._open_out, clock)
        self._delays = Delays(self.declarations.routes, self.control, self._publisher)
        self._revocations = RevocationStream(self.control, self._publish_own, clock)
        self._in: Session | None = None
        self._opening = asyncio.Lock()

    def capabilities(self, queue: Queue) -> Capabilities:
        """Return what RabbitMQ does for ``queue``."""
        return Capabilities(
            priority_levels=priority_levels(queue),
            max_delay=LONGEST,
            delay_resolution=DELAY_RESOLUTION,
            renew_every=timedelta(seconds=self.options.hold_limit / 3),
            cross_process=True,
            revocations=True,
            peek=True,
            pause=True,
        )

    # -- life

    async def open(self) -> None:
        """Open *in*."""
        async with self._opening:
            if self._in is None or self._in.error is not None:
                self._delays.forget_all()
                self._in = await Session.open(self.nodes, "in", self.on_lost)

    async def close(self) -> None:
        """Close both connections."""
        async with self._opening:
            session, self._in = self._in, None
            await self._delays.close()
            await self._publisher.close()
            if session is not None:
                await session.close()

    def control(self) -> Session:
        """Return *in*.

        Raises:
            ConnectionLost: it is not open.
        """
        if self._in is None:
            raise ConnectionLost("the transport is not open")
        if self._in.error is not None:
            raise ConnectionLost(str(self._in.error)) from self._in.error
        return self._in

    async def _open_out(self) -> Session:
        if self._in is None:
            raise ConnectionLost("the transport is not open")
        return await Session.open(self.nodes, "out", lambda _error: None)

    # -- topology

    async def declare(self, topology: Topology) -> None:
        """Make ``topology`` exist, or check it."""
        await self.declarations.declare(topology)
        if topology.mode == "active":
            self._publisher.trust(exchange.name for exchange in topology.exchanges)
            await self._delays.welcome(queue.name for queue in topology.queues)

    async def send_lost(self) -> None:
        """Send delayed messages that had no queue when they fell due, if they have one now."""
        await self._delays.welcome(())

    async def declare_again(self, queue: str) -> None:
        """Make ``queue`` once more, as it was declared: somebody deleted it."""
        await self.declarations.again(queue)
        await self._delays.welcome([queue])

    # -- publishing

    async def publish(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        """Publish with confirms. See the class for what cancelling does."""
        for message in messages:
            self.refuse_unkept(message)
            self.refuse_large(message)
        return await self.publish_unchecked(messages)

    def refuse_unkept(self, message: Message) -> None:
        """Raise for a priority or a delay that the queues of ``message`` do not keep."""
        if message.priority or message.not_before is not None:
            self._refuse(message)

    def refuse_large(self, message: Message) -> None:
        """Raise `MessageTooLarge` for a body beyond our own limit."""
        if len(message.body) > self.options.max_body:
            raise MessageTooLarge(
                f"the body of message {message.id or message.correlation_id!r} has {len(message.body)} bytes; "
                f"{self.options.max_body} are taken (max_body in the URL)"
            )

    async def publish_unchecked(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        """Publish what came from the broker before: neither its priority nor its size is asked again."""
        if not messages:
            return []
        outgoing: list[Outgoing] = []
        unroutable: dict[int, Receipt] = {}
        now = self.clock.now()
        for index, message in enumerate(messages):
            seconds = 0 if message.not_before is None else seconds_until(message.not_before, now)
            if seconds:
                delayed = await self._delayed(index, message, seconds)
                if not delayed:
                    unroutable[index] = Receipt(Outcome.RETURNED, "no queue is there to take it when it falls due")
                outgoing += delayed
            else:
                outgoing.append(_outgoing(index, message))
        receipts = await self._publisher.publish(outgoing, len(messages))
        for index, receipt in unroutable.items():
            receipts[index] = receipt
        return receipts

    async def _delayed(self, index: int, message: Message, seconds: int) -> list[Outgoing]:
        """Return a copy for each queue that takes ``message``."""
        known = self._delays.queues_of(message)
        if known is None:
            await self._refuse_undeclared(message.exchange)
        queues = [queue for queue in known or () if await self._delays.ready(queue)]
        properties = encode_properties(message, detour=True)
        exchange = entry(seconds)
        self._publisher.trust((exchange,))
        return [
            Outgoing(index, message.id, exchange, delay_key(seconds, queue), message.body, properties, mandatory=True)
            for queue in queues
        ]

    async def _refuse_undeclared(self, exchange: str) -> None:
        """Raise for a delay through an exchange whose queues are not known here, if there is such an exchange."""
        try:
            async with self.control().scratch() as channel:
                await channel.call("exchange_declare", exchange, passive=True)
        except QueueNotFound:
            return
        raise Unsupported(
            f"a delay through the exchange {exchange!r} needs its queues: declare it and them here, or send to the "
            "queue itself"
        )

    def _refuse(self, message: Message) -> None:
        """Raise for a priority that a queue does not keep, or a delay that is too long."""
        if message.exchange == DEFAULT_EXCHANGE:
            names = [message.routing_key]
        else:
            names = self.declarations.routes.route(message.exchange, message.routing_key)
            if not names and message.priority and message.exchange not in self.declarations.routes.exchanges:
                raise Unsupported(
                    f"a priority through the exchange {message.exchange!r} needs its queues: declare it and them here"
                )
        now = self.clock.now()
        for name in names or [message.routing_key or message.exchange]:
            queue = self.declarations.queue(name)
            refuse_unsupported(message, queue, self.capabilities(queue), now)

    async def _publish_own(self, messages: Sequence[Message]) -> None:
        """Publish, and raise unless all are confirmed."""
        receipts = await self.publish_unchecked(messages)
        failed = [message for message, receipt in zip(messages, receipts, strict=True) if not receipt.ok]
        if failed:
            raise PublishErrors(receipts, failed)

    # -- consuming

    @asynccontextmanager
    async def consume(self, queues: Sequence[str], *, prefetch: int) -> AsyncIterator[Consumer]:
        """Open a window on ``queues``, a channel each."""
        consumer = AmqpConsumer(self, queues, prefetch)
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.leave()

    # -- signals and revocations

    async def signal(self, topic: str, body: bytes) -> None:
        """Publish on the exchange of signals."""
        await make_exchange(self.control())
        self._publisher.trust((EXCHANGE,))
        message = Message(id=uuid.uuid4().hex, exchange=EXCHANGE, routing_key=topic, body=body, mandatory=False)
        await self._publisher.publish([_outgoing(0, message, transient=True)], 1)

    def listen(self, topic: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Bind a queue of the connection's own to ``topic``."""
        return listening(self.control, topic)

    async def revoke(self, ids: Sequence[str], until: datetime) -> None:
        """Write to the stream of revocations."""
        await self._revocations.revoke(ids, until)

    def revoked(self) -> AbstractAsyncContextManager[Revocations]:
        """Read the stream of revocations, and follow it."""
        return self._revocations.revoked()

    # -- looking and tending

    async def depth(self, queue: str) -> Depth:
        """Ask for the ready messages; RabbitMQ tells no more by AMQP."""
        async with self.control().scratch() as channel:
            answer = await channel.call("queue_declare", queue, passive=True)
        return Depth(ready=answer.method.message_count, paused=await self.pauses.is_paused(queue))

    async def purge(self, queue: str) -> int:
        """Drop the ready messages; delayed ones stay in their tiers, among those of other queues."""
        async with self.control().scratch() as channel:
            answer = await channel.call("queue_purge", queue)
        return int(answer.method.message_count)

    async def delete(self, queue: str) -> None:
        """Delete the queue, and the flag that paused it; its consumers are told.

        RabbitMQ 3.10 tells them too, but not if a quorum queue is declared again within some 100 ms: then they stay
        attached to nothing, without a word.
        """
        async with self.control().scratch() as channel:
            await channel.call("queue_delete", queue)
            await channel.call("queue_delete", queue + PAUSED_SUFFIX)
        self.declarations.forget(queue)
        self._delays.forget(queue)
        await self._tell_consumers(queue, "deleted")

    async def peek(self, queue: str, limit: int) -> Sequence[Message]:
        """Take messages on a channel of their own, and give them back.

        RabbitMQ 3.10 ends the whole connection (541) when a quorum queue that is being made is asked for a message; how
        many it has, it can tell.
        """
        found: list[Message] = []
        session = self.control()
        async with session.scratch() as channel:
            answer = await channel.call("queue_declare", queue, passive=True)
            while len(found) < min(limit, answer.method.message_count):
                taken = await channel.get(queue)
                if taken is None:
                    break
                method, properties, body = taken
                levels = self.declarations.levels(queue)
                read = decode_properties(properties)
                found.append(to_message(read, method.exchange, method.routing_key, body, levels))
            if found:
                async with session.giving_back(queue, len(found)):
                    channel.raw.basic_nack(0, multiple=True, requeue=True)
        return found

    async def pause(self, queue: str) -> None:
        """Set the flag, and tell the workers."""
        await self.pauses.pause(queue)
        await self._tell_consumers(queue, "paused")

    async def resume(self, queue: str) -> None:
        """Take the flag away, and tell the workers."""
        await self.pauses.resume(queue)
        await self._tell_consumers(queue, "resumed")

    async def _tell_consumers(self, queue: str, event: str) -> None:
        await self.signal(QUEUES_TOPIC, json.dumps({"queue": queue, "event": event}).encode())


def _outgoing(index: int, message: Message, *, transient: bool = False) -> Outgoing:
    return Outgoing(
        index,
        message.id,
        message.exchange,
        message.routing_key,
        message.body,
        encode_properties(message, transient=transient),
        message.mandatory,
    )
