"""Looking into queues and clearing them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import nats.js.errors

from celeriac.errors import QueueNotFound, TransportError
from celeriac.transport import Depth
from celeriac_nats.acking import ACK, tell
from celeriac_nats.names import LATER, READY
from celeriac_nats.pulling import Puller
from celeriac_nats.wire import unpack_or_leave

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from datetime import datetime

    from nats.aio.msg import Msg
    from nats.js.api import ConsumerInfo, RawStreamMsg

    from celeriac.message import Message
    from celeriac_nats.link import Link

T = TypeVar("T")
PURGE_BATCH = 1000
PURGE_WAIT = 1.0  # seconds


class Tender:
    """What can be asked of a queue, whoever consumes it."""

    def __init__(self, link: Link) -> None:
        """Ask by ``link``."""
        self._link = link

    async def exists(self, queue: str) -> None:
        """Return if ``queue`` exists.

        Raises:
            QueueNotFound: it does not.
        """
        await self._ready(queue)

    async def depth(self, queue: str, now: datetime, *, paused: bool) -> Depth:
        """Count what is ready, what is held, and what waits for its moment.

        What a lost process held counts as running until somebody takes it.
        """
        info = await self._ready(queue)
        oldest = [message.time async for message in self._waiting(queue, info, 1)]
        return Depth(
            ready=info.num_pending or 0,
            running=info.num_ack_pending,
            delayed=await self._delayed(queue),
            oldest_age=max(0.0, (now - oldest[0]).total_seconds()) if oldest and oldest[0] else None,
            paused=paused,
        )

    async def peek(self, queue: str, limit: int) -> list[Message]:
        """Read what was never delivered, past every consumer."""
        info = await self._ready(queue)
        where = f"in the stream of queue {queue!r}"
        found = [unpack_or_leave(each.data or b"", where) async for each in self._waiting(queue, info, limit)]
        return [kept.message for kept in found if kept is not None]

    async def purge(self, queue: str) -> int:
        """Take what is ready, and drop what is delayed; what others hold stays, as a stream's own purge would not."""
        taken: list[Msg] = []
        dropped, news = 0, asyncio.Event()
        puller = Puller(self._link, self._link.names.stream(queue), READY, taken.append, news.set)
        try:
            while ready := (await self._ready(queue)).num_pending:
                await puller.ask(min(ready, PURGE_BATCH), PURGE_WAIT)
                while puller.expected:
                    news.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(PURGE_WAIT):
                            await self._link.ask(news.wait(), "waiting for what is to be purged")
                await tell(self._link, [message.reply for message in taken], ACK)
                dropped += len(taken)
                taken.clear()
        finally:
            await puller.stop()
        return dropped + await self._purge_delayed(queue)

    async def delete(self, queue: str) -> None:
        """Delete the stream, if there is one."""
        with suppress(QueueNotFound):
            await self._ask(queue, self._link.js.delete_stream(self._link.names.stream(queue)))

    async def _purge_delayed(self, queue: str) -> int:
        names, delayed = self._link.names, await self._delayed(queue)
        if delayed:
            subject = names.subject(queue, LATER)
            await self._ask(queue, self._link.js.purge_stream(names.stream(queue), subject=subject))
        return delayed

    async def _ready(self, queue: str) -> ConsumerInfo:
        return await self._ask(queue, self._link.js.consumer_info(self._link.names.stream(queue), READY))

    async def _delayed(self, queue: str) -> int:
        names = self._link.names
        subject = names.subject(queue, LATER)
        info = await self._ask(queue, self._link.js.stream_info(names.stream(queue), subjects_filter=subject))
        return (info.state.subjects or {}).get(subject, 0)

    async def _waiting(self, queue: str, info: ConsumerInfo, limit: int) -> AsyncIterator[RawStreamMsg]:
        """Yield the first messages in the ready lane that nobody was given yet."""
        names = self._link.names
        sequence = (info.delivered.stream_seq if info.delivered else 0) + 1
        for _ in range(min(limit, info.num_pending or 0)):
            reading = self._link.js.get_msg(
                names.stream(queue), sequence, subject=names.subject(queue, READY), next=True
            )
            try:
                message = await self._ask(queue, reading)
            except QueueNotFound:  # or no such message: someone took the rest
                return
            yield message
            sequence = (message.seq or sequence) + 1

    async def _ask(self, queue: str, question: Coroutine[Any, Any, T]) -> T:
        try:
            return await self._link.ask(question, f"cannot look at queue {queue!r}")
        except TransportError as error:
            if isinstance(error.__cause__, nats.js.errors.NotFoundError):
                raise QueueNotFound(f"queue {queue!r} does not exist") from error.__cause__
            raise
