"""Delays: a message that is not due lies in its queue's ``later`` lane, and whoever consumes the queue promotes it.

JetStream 2.9 cannot publish for later; it can deliver again after a delay. So a message that is early is answered with
a nak that says when to ask again, which costs the server a timer and us nothing; one that is due is published to the
``ready`` lane and acked. Between the two a crash leaves a second copy, which the stream drops by its id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, TransportError
from celeriac_nats.acking import ACK, later, tell
from celeriac_nats.names import LATER, READY
from celeriac_nats.publishing import Parcel, send
from celeriac_nats.pulling import LATE, WAIT, Puller
from celeriac_nats.wire import dedup_id, unpack_or_leave

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from celeriac.clock import Clock
    from celeriac_nats.link import Link

logger = logging.getLogger(__name__)

BATCH = 200


class Promoter:
    """Promotes what falls due in one queue, until it is stopped."""

    def __init__(self, link: Link, queue: str, clock: Clock) -> None:
        """Begin."""
        self._link = link
        self._queue = queue
        self._clock = clock
        self._arrived: deque[Msg] = deque()
        self._news = asyncio.Event()
        self._puller = Puller(link, link.names.stream(queue), LATER, self._arrived.append, self._news.set)
        self._running = asyncio.create_task(self._run())

    @property
    def ended(self) -> bool:
        """It promotes no longer."""
        return self._running.done()

    async def stop(self) -> None:
        """Stop; what was taken and not promoted is delivered to another one after the lease."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._puller.stop()
        with suppress(TransportError):
            await self._sort_out()

    async def _run(self) -> None:
        while True:
            self._news.clear()
            try:
                await self._sort_out()
                if not self._puller.expected:
                    await self._puller.ask(BATCH)
            except ConnectionLost:
                return  # the consumer says so
            except TransportError:
                logger.exception("cannot promote delayed messages of queue %r; again in %g s", self._queue, WAIT)
            with suppress(TimeoutError):
                async with asyncio.timeout(WAIT + LATE):
                    await self._news.wait()

    async def _sort_out(self) -> None:
        now = self._clock.now()
        due: list[Msg] = []
        while self._arrived:
            message = self._arrived.popleft()
            kept = unpack_or_leave(message.data, f"in the stream of queue {self._queue!r}")
            if kept is None:
                continue
            if kept.due is None or kept.due <= now:
                due.append(message)
            else:
                await self._link.say(message.reply, later(kept.due - now))
        receipts = await send(self._link, [self._promoted(message) for message in due])
        taken = [message.reply for message, receipt in zip(due, receipts, strict=True) if receipt.ok]
        await tell(self._link, taken, ACK)

    def _promoted(self, message: Msg) -> Parcel:
        number = str(message.metadata.sequence.stream)
        subject = self._link.names.subject(self._queue, READY)
        return Parcel(subject, message.data, dedup_id("due", self._link.names.stream(self._queue), number))
