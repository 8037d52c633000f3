"""Publishing: one connection of its own, publisher confirms, one future a call.

How the broker answers (https://www.rabbitmq.com/docs/confirms): publishes of a channel are numbered from 1; acks and
nacks carry that number, come in any order, and may stand for all below. A ``basic.return`` carries no number, but
comes before the ack of its message, and returns come in the order of their publishing: so the next unanswered message
with the same exchange, key and id is the one that came back.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pika import exceptions, spec

from celeriac.errors import ConfigurationError, QueueNotFound
from celeriac.message import CONFIRMED, Outcome, Receipt
from celeriac_amqp.background import Shared
from celeriac_amqp.connection import Channel, Session
from celeriac_amqp.properties import decode_properties

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from celeriac.clock import Clock
    from celeriac.errors import TransportError

logger = logging.getLogger("celeriac.amqp")

CHUNK = 200  # messages written in one turn of the loop
STALLED = 1.0  # seconds without any ack, after which an abandoned publish takes the connection with it


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One publish as it goes on the wire.

    Attributes:
        index: which message of the call it belongs to; a delayed one may go to several queues.
        id: the message's id, by which a return is told.
        exchange: where it is published.
        routing_key: with what.
        body: the content.
        properties: encoded.
        mandatory: come back if no queue takes it.
    """

    index: int
    id: str
    exchange: str
    routing_key: str
    body: bytes
    properties: bytes
    mandatory: bool


class _Call:
    """The messages of one `Publisher.publish`, counted down as they are answered."""

    __slots__ = ("done", "left", "receipts")

    def __init__(self, size: int, left: int, done: asyncio.Future[None]) -> None:
        self.receipts = [CONFIRMED] * size
        self.left = left
        self.done = done

    def answer(self, index: int, receipt: Receipt) -> None:
        if not receipt.ok:
            self.receipts[index] = receipt
        self.left -= 1
        if self.left == 0 and not self.done.done():
            self.done.set_result(None)


class Publisher:
    """The *out* connection of a process: opened at the first publish, and again after it was lost.

    It is apart from the connection that consumes because RabbitMQ, out of memory, stops reading whatever connection
    has published, acks included.
    """

    def __init__(self, connect: Callable[[], Awaitable[Session]], clock: Clock) -> None:
        """Prepare; nothing is opened.

        Args:
            connect: opens the connection.
            clock: by which a stall is measured.
        """
        self._connect = connect
        self._clock = clock
        self._steps = Shared()
        self._session: Session | None = None
        self._channel: Channel | None = None
        self._sequence = 0
        self._returned = 0
        self._progress = 0.0
        self._unanswered: dict[int, tuple[_Call, Outgoing]] = {}
        self._verified: set[str] = {""}

    async def publish(self, outgoing: Sequence[Outgoing], size: int) -> list[Receipt]:
        """Write all, and return one receipt for each of ``size`` messages once all are answered.

        Cancelled, it leaves what was written to its fate, unless the connection has stalled: then it is reset, so that
        nothing which its caller has given up for unconfirmed is read by the broker later.

        Raises:
            ConnectionLost: there is no connection, and none can be opened; nothing was written.
        """
        call = _Call(size, len(outgoing), asyncio.get_running_loop().create_future())
        unknown = await self._unknown_exchanges({item.exchange for item in outgoing})
        channel = await self._ready()
        try:
            for start in range(0, len(outgoing), CHUNK):
                if start:
                    await asyncio.sleep(0)
                self._write(channel, call, outgoing[start : start + CHUNK], unknown)
            if outgoing:
                await call.done
        except asyncio.CancelledError:
            self._abandoned(call)
            raise
        return call.receipts

    def _write(self, channel: Channel, call: _Call, items: Iterable[Outgoing], unknown: set[str]) -> None:
        for item in items:
            if item.exchange in unknown:
                call.answer(item.index, Receipt(Outcome.RETURNED, f"no exchange {item.exchange!r}"))
                continue
            if channel.error is not None:
                call.answer(item.index, Receipt(Outcome.NOT_SENT, str(channel.error)))
                continue
            if not self._unanswered:
                self._progress = self._clock.monotonic()
            try:
                channel.publish(item.exchange, item.routing_key, item.body, item.properties, mandatory=item.mandatory)
            except (exceptions.AMQPError, ConfigurationError) as error:
                call.answer(item.index, Receipt(Outcome.NOT_SENT, str(error)))
                continue
            self._sequence += 1
            self._unanswered[self._sequence] = (call, item)
        channel.flush()

    def trust(self, exchanges: Iterable[str]) -> None:
        """Take the existence of ``exchanges`` as known: they have just been declared."""
        self._verified.update(exchanges)

    async def close(self) -> None:
        """Close the connection; what is unanswered is unconfirmed. Never raises."""
        await self._steps.stop()
        session, self._session = self._session, None
        self._forget("the transport was closed")
        if session is not None:
            await session.close()

    async def _ready(self) -> Channel:
        channel = self._channel
        if channel is not None and channel.error is None:
            return channel
        return await self._steps.do(Channel, self._open_channel)

    async def _open_channel(self) -> Channel:
        session = await self._steps.do(Session, self._open_session)
        channel = await session.channel()
        await channel.call("confirm_delivery", self._on_confirm_frame)
        channel.hear_confirms(self._on_confirm)
        channel.raw.add_on_return_callback(self._on_return)
        self._sequence = self._returned = 0
        channel.on_closed = partial(self._on_closed, channel)
        self._channel = channel
        return channel

    async def _open_session(self) -> Session:
        if self._session is None or self._session.error is not None:
            self._session = await self._connect()
        return self._session

    async def _unknown_exchanges(self, names: set[str]) -> set[str]:
        """Return those of ``names`` that do not exist; one publish to such closes the channel under all others."""
        new = names - self._verified
        return {name for name in new if not await self._steps.do(name, partial(self._verify, name))}

    async def _verify(self, name: str) -> bool:
        session = await self._steps.do(Session, self._open_session)
        try:
            async with session.scratch() as channel:
                await channel.call("exchange_declare", name, passive=True)
        except QueueNotFound:
            return False
        self._verified.add(name)
        return True

    def _on_confirm_frame(self, frame: Any) -> None:
        method, receipt = frame.method, CONFIRMED
        if isinstance(method, spec.Basic.Nack):
            receipt = Receipt(Outcome.NACKED, "the broker could not take it")
        self._on_confirm(method.delivery_tag, method.multiple, receipt)

    def _on_confirm(self, tag: int, multiple: bool, receipt: Receipt = CONFIRMED) -> None:  # noqa: FBT001 - as on the wire
        if receipt is CONFIRMED:  # one that has lost its queue's leader may nack on, slowly, and ack no more
            self._progress = self._clock.monotonic()
        unanswered = self._unanswered
        if multiple:
            for number in list(takewhile(tag.__ge__, unanswered)):
                call, item = unanswered.pop(number)
                call.answer(item.index, receipt)
        elif tag in unanswered:
            call, item = unanswered.pop(tag)
            call.answer(item.index, receipt)

    def _on_return(self, _raw: object, method: Any, properties: bytes, _body: bytes) -> None:
        returned_id = decode_properties(properties).id
        wanted = (method.exchange, method.routing_key, returned_id)
        for number in range(self._returned + 1, self._sequence + 1):
            call, item = self._unanswered.get(number, (None, None))
            if call is None or item is None or not item.mandatory:
                continue
            if (item.exchange, item.routing_key, item.id) == wanted:
                self._returned = number
                call.receipts[item.index] = Receipt(Outcome.RETURNED, f"{method.reply_text}: no queue took it")
                return
        logger.error("the broker returned a message that was never published here: %r", wanted)

    def _abandoned(self, call: _Call) -> None:
        stalled = self._clock.monotonic() - self._progress >= STALLED
        session = self._session
        if session is None or call.left == 0 or not (session.blocked or stalled):
            return
        if any(waiting is call for waiting, _ in self._unanswered.values()):
            session.abort("a publish was given up unconfirmed")
            self._session = None
            self._forget("the connection was reset: a publish was given up unconfirmed")

    def _on_closed(self, channel: Channel, error: TransportError) -> None:
        if channel is self._channel:
            logger.warning("the publishing channel is gone, another is opened when needed: %s", error)
            self._verified = {""}
            self._forget(str(error))

    def _forget(self, why: str) -> None:
        """Answer for all that is unanswered: it may have been read by the broker, or not."""
        self._channel = None
        unanswered, self._unanswered = self._unanswered, {}
        receipt = Receipt(Outcome.UNCONFIRMED, why)
        for call, item in unanswered.values():
            call.answer(item.index, receipt)
