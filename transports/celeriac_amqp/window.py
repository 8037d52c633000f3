"""One queue of a consumer: its channel, its AMQP consumer, and what was delivered on it and is unsettled.

RabbitMQ fixes a consumer's prefetch when it begins, so another number means another consumer on the same channel:
cancel, wait for cancel-ok, give back once what is beyond, consume again. What an earlier consumer delivered stays
ours and counts no more with the broker, so the new one begins with what is left of the limit, and is itself replaced
when much of the old is settled. Replacing happens at most once a second, unless the window would run dry, or is told
to take more while nothing can come.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.message import Delivery
from celeriac_amqp.properties import decode_properties, to_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celeriac.clock import Clock
    from celeriac.errors import TransportError
    from celeriac_amqp.connection import Channel, Session

REPLACE_INTERVAL = 1.0
_generations = count(1)


class Token(NamedTuple):
    """What names a delivery: the channel it came on, of all that this process ever had, and its tag there."""

    generation: int
    tag: int


class Arrived(NamedTuple):
    """A delivery as it came: when, and pika's three parts of it."""

    at: float
    method: Any
    properties: bytes
    body: bytes

    def delivery(self, queue: str, generation: int, levels: int) -> Delivery:
        """Return it as a delivery of ``queue``, which keeps ``levels`` priorities."""
        method = self.method
        found = decode_properties(self.properties)
        return Delivery(
            message=to_message(found, method.exchange, method.routing_key, self.body, levels),
            queue=queue,
            token=Token(generation, method.delivery_tag),
            redelivered=method.redelivered,
            returns=found.returns,
        )


class Window:
    """What one consumer sees of one queue.

    Attributes:
        queue: its name.
        generation: names the channel; another one after the channel was lost.
        ready: arrived and not handed out.
        held: handed out and not settled, by tag, the oldest first.
        paused: nothing is taken, for the queue is paused.
        elsewhere: of ours, but moved to another queue of ours, and counted here.
    """

    def __init__(self, queue: str, share: int, clock: Clock, arrived: Callable[[], None]) -> None:
        """Prepare; `open` and `adjust` begin.

        Args:
            queue: its name.
            share: how many unsettled deliveries it may have.
            clock: by which arrivals and replacements are timed.
            arrived: called when something came.
        """
        self.queue = queue
        self.generation = 0
        self.ready: deque[Arrived] = deque()
        self.held: dict[int, Arrived] = {}
        self.paused = False
        self.elsewhere = 0
        self._share = share
        self._clock = clock
        self._arrived = arrived
        self._channel: Channel | None = None
        self._consumer_tag: str | None = None
        self._credit = 0
        self._boundary = 0  # the highest tag that an earlier consumer delivered
        self._old = 0  # how many unsettled tags there are up to it
        self._last_tag = 0
        self._last_handed = 0
        self._heard_at = 0.0
        self._consumed = False  # once at least: the first time is no replacement
        self._replaced_at = float("-inf")
        self._adjusting = asyncio.Lock()

    async def open(
        self, session: Session, cancelled: Callable[[], None], closed: Callable[[TransportError], None]
    ) -> None:
        """Open the channel, and see that the queue is there.

        Args:
            session: the connection.
            cancelled: called when the broker has ended our consumer: the queue was deleted, or its node is gone.
            closed: called when the channel was closed other than by `close`.

        Raises:
            QueueNotFound: it is not there.
        """
        channel = await session.channel()
        try:
            await channel.call("queue_declare", self.queue, passive=True)
        except BaseException:
            await channel.close()
            raise
        channel.raw.add_on_cancel_callback(lambda _frame: self._on_cancel(cancelled))
        channel.on_closed = closed
        self.generation = next(_generations)
        self._channel = channel
        self._heard_at = self._clock.monotonic()
        self._forget_deliveries()
        self._last_tag = self._boundary = 0

    def _on_cancel(self, cancelled: Callable[[], None]) -> None:
        # what was not handed out is gone with the queue, or goes to another; what was handed out counts as before
        self._consumer_tag = None
        self._credit = 0
        self.ready.clear()
        self._mark_old()
        cancelled()

    def _forget_deliveries(self) -> None:
        self._consumer_tag = None
        self._credit = 0
        self._old = 0
        self._last_handed = 0  # what was handed out is lost, and was not settled
        self.ready.clear()
        self.held.clear()

    @property
    def limit(self) -> int:
        """How many unsettled deliveries there may be on this channel now."""
        return 0 if self.paused else max(0, self._share - self.elsewhere)

    @property
    def consuming(self) -> bool:
        """The broker has a consumer of ours here."""
        return self._consumer_tag is not None

    @property
    def satisfied(self) -> bool:
        """The consumer that we have is the one that we want."""
        if self._credit:
            return self._credit + self._old == self.limit
        surplus = len(self.ready) > max(0, self.limit - len(self.held))
        return not surplus and len(self.held) + len(self.ready) >= self.limit

    async def resize(self, share: int) -> float:
        """Let there be ``share`` unsettled deliveries; returns as `adjust`."""
        nothing_can_come = len(self.held) + len(self.ready) >= self._credit + self._old
        more, self._share = share > self._share, share
        return await self.adjust(at_once=more and nothing_can_come)

    async def adjust(self, *, at_once: bool = False) -> float:
        """Replace the consumer if another is wanted; return after how many seconds to call again, 0 for never.

        When it returns no more than the limit is held or can come, handed-out deliveries beyond it excepted.
        """
        async with self._adjusting:
            channel = self._channel
            if channel is None or self.satisfied:
                return 0.0
            too_many = self._credit + self._old > self.limit
            patience = self._replaced_at + REPLACE_INTERVAL - self._clock.monotonic()
            dry = (self._credit + self._old) * 2 < self.limit
            if not (too_many or dry or at_once) and patience > 0:
                return patience
            await self._end_consumer(channel)
            self._give_back_surplus(channel)
            credit = self.limit - len(self.held) - len(self.ready)
            if credit > 0:
                await self._consume(channel, credit)
            return 0.0

    async def _end_consumer(self, channel: Channel) -> None:
        if self._consumer_tag is not None:
            await channel.cancel(self._consumer_tag)
            self._consumer_tag = None
        self._credit = 0
        self._mark_old()

    def _mark_old(self) -> None:
        self._boundary = self._last_tag
        self._old = len(self.held) + len(self.ready)

    def _give_back_surplus(self, channel: Channel) -> None:
        room = max(0, self.limit - len(self.held))
        while len(self.ready) > room:
            tag = self.ready.pop().method.delivery_tag
            self._settled(tag)
            channel.raw.basic_nack(tag, requeue=True)

    async def _consume(self, channel: Channel, credit: int) -> None:
        await channel.call("basic_qos", prefetch_count=credit)
        self._credit = credit
        if self._consumed:
            self._replaced_at = self._clock.monotonic()
        self._consumed = True
        consumer_tag = f"celeriac.{self.generation}.{next(_generations)}"
        await channel.call("basic_consume", self.queue, self._on_message, consumer_tag=consumer_tag)
        self._consumer_tag = consumer_tag

    def _on_message(self, _raw: object, method: Any, properties: bytes, body: bytes) -> None:
        self._last_tag = method.delivery_tag
        self._heard_at = self._clock.monotonic()
        self.ready.append(Arrived(self._heard_at, method, properties, body))
        self._arrived()

    def hand_out(self, levels: int) -> Delivery:
        """Return the next delivery, of a queue that keeps ``levels`` priorities; it is held from now on."""
        arrived = self.ready.popleft()
        self._last_handed = arrived.method.delivery_tag
        self.held[self._last_handed] = arrived
        return arrived.delivery(self.queue, self.generation, levels)

    def was_handed_out(self, tag: int) -> bool:
        """Return whether ``tag`` was ever given to anyone on this channel, which is open."""
        return 0 < tag <= self._last_handed

    def ack(self, tags: set[int]) -> None:
        """Acknowledge held deliveries: with one frame, as far as they are the oldest."""
        channel = self._channel
        if channel is None:
            return
        oldest = list(takewhile(tags.__contains__, self.held))
        if len(oldest) > 1:
            channel.raw.basic_ack(oldest[-1], multiple=True)
            for tag in oldest:
                self._drop(tag)
            tags = tags.difference(oldest)
        for tag in tags:
            channel.raw.basic_ack(tag)
            self._drop(tag)

    def give_back(self, tags: Iterable[int]) -> None:
        """Return held deliveries to the queue, ready at once. By nack: RabbitMQ 4 counts a reject as a failure."""
        if self._channel is not None:
            for tag in tags:
                self._channel.raw.basic_nack(tag, requeue=True)
                self._drop(tag)

    def give_back_stale(self, before: float) -> None:
        """Return what arrived before that moment and was never handed out."""
        while self._channel is not None and self.ready and self.ready[0].at < before:
            tag = self.ready.popleft().method.delivery_tag
            self._settled(tag)
            self._channel.raw.basic_nack(tag, requeue=True)

    def _drop(self, tag: int) -> None:
        del self.held[tag]
        self._settled(tag)

    def _settled(self, tag: int) -> None:
        if tag <= self._boundary:
            self._old -= 1

    async def verify(self, session: Session) -> bool:
        """Ask the broker whether it knows our channel, and a consumer on the queue where there should be one."""
        if self._channel is None or self._channel.error is not None:
            return False
        await self._channel.call("basic_qos", prefetch_count=self._credit)
        async with session.scratch() as channel:
            answer = await channel.call("queue_declare", self.queue, passive=True)
        return not self.consuming or answer.method.consumer_count > 0

    def is_idle(self, since: float) -> bool:
        """Return whether nothing is held, and nothing came from that moment on."""
        return self.consuming and not self.held and not self.ready and self._heard_at < since

    async def retire(self) -> bool:
        """End an idle channel; ``False`` if something came at the last moment, and the channel stays."""
        async with self._adjusting:
            channel = self._channel
            if channel is None:
                return False
            await self._end_consumer(channel)
            if self.held or self.ready:
                return False
            self._channel = None
            channel.on_closed = _nobody
        await channel.close()
        return True

    async def close(self) -> None:
        """End it: everything unsettled goes back, ready at once."""
        async with self._adjusting:
            channel, self._channel = self._channel, None
            if channel is None or channel.error is not None:
                return
            channel.on_closed = _nobody
            try:
                await self._end_consumer(channel)
                if count := len(self.held) + len(self.ready):
                    async with channel.session.giving_back(self.queue, count):
                        channel.raw.basic_nack(0, multiple=True, requeue=True)
            finally:
                self._forget_deliveries()
                await channel.close()

    def lost(self) -> None:
        """Take note that the channel is gone, and all that was held with it."""
        self._channel = None
        self._forget_deliveries()


def _nobody(_error: object) -> None:
    """Hear of an end that was our own."""
