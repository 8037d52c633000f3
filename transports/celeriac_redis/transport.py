"""The transport port on Redis or Valkey, in kombu's layout.

What takes several steps is one Lua script, so that it happens whole or not at all: see ``scripts/``. Leases and delays
go by the server's clock.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConnectionLost, QueueNotFound
from celeriac.transport import Depth, Transport
from celeriac_redis import programs, publishing, restoring, revocations
from celeriac_redis.address import parse_all
from celeriac_redis.capabilities import capabilities
from celeriac_redis.consumer import Held, RedisConsumer, give_back
from celeriac_redis.declaring import declare
from celeriac_redis.ear import Inbox
from celeriac_redis.envelope import decode
from celeriac_redis.programs import levels_in
from celeriac_redis.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from celeriac.clock import Clock
    from celeriac.errors import TransportError
    from celeriac.message import Message, Receipt
    from celeriac.topology import Queue, Topology
    from celeriac.transport import Capabilities, Consumer, Revocations


class RedisTransport(Transport):
    """``redis://host:6379/0``, and the other schemes of `celeriac_redis.address`."""

    def __init__(self, urls: Sequence[str], *, clock: Clock, on_lost: Callable[[TransportError], None]) -> None:
        """Read the URLs."""
        super().__init__(urls, clock=clock, on_lost=on_lost)
        self._addresses = parse_all(self.urls)
        self._options = self._addresses[0].options
        self._session: Session | None = None
        self._opening = asyncio.Lock()
        self._consumers: set[RedisConsumer] = set()
        self._orphans: list[Held] = []  # held by consumers that died with a lost connection

    def capabilities(self, queue: Queue) -> Capabilities:
        """Return what holds for ``queue``."""
        return capabilities(queue, self._options)

    # -- life

    async def open(self) -> None:
        """Connect, and give back what consumers of a lost connection held."""
        async with self._opening:
            if self._session is not None and self._session.is_open:
                return
            await self._bury()
            session = await Session.open(self._addresses, self.on_lost)
            orphans, self._orphans = self._orphans, []
            self._session = session
            await give_back(session, orphans)

    async def close(self) -> None:
        """Give back what our consumers hold, and hang up."""
        async with self._opening:
            await self._bury()
            self._orphans = []

    async def _bury(self) -> None:
        """End the session and its consumers."""
        session, self._session = self._session, None
        consumers, self._consumers = self._consumers, set()
        for consumer in consumers:
            self._orphans += await consumer.leave()
        if session is not None:
            await session.close()

    def _opened(self) -> Session:
        if self._session is None:
            raise ConnectionLost(f"the transport to {self._addresses[0]} is not open")
        self._session.refuse_closed()
        return self._session

    # -- topology and messages

    async def declare(self, topology: Topology) -> None:
        """Make ``topology`` exist, or check it."""
        session = self._opened()
        if topology.mode != "never":
            await declare(session, topology, self._options)

    async def publish(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        """Store messages, 500 in a step."""
        return await publishing.publish(self._opened(), messages, self._options, self.clock)

    @asynccontextmanager
    async def consume(self, queues: Sequence[str], *, prefetch: int) -> AsyncIterator[Consumer]:
        """Open a window on ``queues``."""
        session = self._opened()
        levels = await self._levels(session, queues)
        consumer = RedisConsumer(session, queues, prefetch, self._options, self.clock, levels)
        async with AsyncExitStack() as stack:
            stack.enter_context(session.waking(consumer.event))
            for queue in levels:
                await stack.enter_async_context(session.hearing(session.layout.bell + queue, consumer.rung))
            await stack.enter_async_context(self._restoring(session))
            self._consumers.add(consumer)
            try:
                yield consumer
            finally:
                orphans = await consumer.leave()
                if consumer in self._consumers:
                    self._consumers.remove(consumer)
                    self._orphans += orphans

    async def _levels(self, session: Session, queues: Sequence[str]) -> dict[str, int]:
        levels: dict[str, int] = {}
        for queue, declared in zip(queues, await session.ask("HMGET", session.layout.queues, *queues), strict=True):
            if declared is None:
                raise QueueNotFound(f"no queue {queue!r}")
            levels[queue] = levels_in(declared)
        return levels

    @asynccontextmanager
    async def _restoring(self, session: Session) -> AsyncIterator[None]:
        """Look now and then, within the block, for what somebody has taken and forgotten."""
        looking = restoring.keep_restoring(session, self._options.visibility_timeout)
        task = asyncio.get_running_loop().create_task(looking)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- signals and revocations

    async def signal(self, topic: str, body: bytes) -> None:
        """Tell every listener of ``topic``."""
        session = self._opened()
        await session.ask("PUBLISH", session.layout.signal(topic), body)

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Hear what is signalled from now on."""
        session, inbox = self._opened(), Inbox[bytes]()
        with session.following(inbox):
            async with session.hearing(session.layout.signal(topic), inbox.put):
                yield inbox

    async def revoke(self, ids: Sequence[str], until: datetime) -> None:
        """Remember that the messages named ``ids`` are not to be run."""
        await revocations.revoke(self._opened(), ids, until)

    def revoked(self) -> AbstractAsyncContextManager[Revocations]:
        """Follow the revocations."""
        return revocations.revoked(self._opened())

    # -- looking and tending

    async def depth(self, queue: str) -> Depth:
        """Count what is in ``queue``; what Celery's workers hold is not known."""
        now, ready, running, delayed, paused, *oldest = await self._look(queue, 0)
        moments = [at for envelope in oldest if (at := decode(envelope, 1).at) is not None]
        age = int(now) / 1e6 - min(moments) if moments else None
        return Depth(
            ready=ready,
            running=running,
            delayed=delayed,
            oldest_age=None if age is None else max(0.0, age),
            paused=bool(paused),
        )

    async def peek(self, queue: str, limit: int) -> Sequence[Message]:
        """Return the next ready messages."""
        levels = await self._levels(self._opened(), [queue])
        _, _, _, _, _, *envelopes = await self._look(queue, limit)
        return [decode(envelope, levels[queue]).message for envelope in envelopes[:limit]]

    async def _look(self, queue: str, shown: int) -> list[Any]:
        answer: list[Any] = await self._opened().run(programs.LOOK, queue, shown)
        if not answer:
            raise QueueNotFound(f"no queue {queue!r}")
        return answer

    async def purge(self, queue: str) -> int:
        """Drop what is ready or delayed."""
        dropped: int = await self._opened().run(programs.PURGE, queue)
        if dropped < 0:
            raise QueueNotFound(f"no queue {queue!r}")
        return dropped

    async def delete(self, queue: str) -> None:
        """Delete ``queue`` and all in it."""
        await self._opened().run(programs.DELETE, queue)

    async def pause(self, queue: str) -> None:
        """Deliver nothing of ``queue`` until `resume`."""
        await self._set_paused(queue, paused=True)

    async def resume(self, queue: str) -> None:
        """Deliver again."""
        await self._set_paused(queue, paused=False)

    async def _set_paused(self, queue: str, *, paused: bool) -> None:
        if not await self._opened().run(programs.PAUSE, queue, "1" if paused else "0"):
            raise QueueNotFound(f"no queue {queue!r}")
