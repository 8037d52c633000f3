"""Room 1: asks the broker for as much as the pool can use, and keeps what it holds alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac import states
from celeriac.errors import ConnectionLost, QueueNotFound, TransportError
from celeriac.protocol import OwnTable
from celeriac.transport_helpers import OWN_HEADER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from celeriac.clock import Clock
    from celeriac.connection import Connection
    from celeriac.message import Delivery, Message
    from celeriac.results import ResultRecord
    from celeriac.transport import Consumer
    from celeriac.worker.pace import Pace

logger = logging.getLogger("celeriac.worker")

WAIT = 1.0
TICK = 0.25
TRY_AGAIN = 0.2
RESIZE_AFTER = 1.0
CHECK_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivery, the consumer to settle it with, and its final record if the store has one already."""

    consumer: Consumer
    delivery: Delivery
    final: ResultRecord | None = None


class Receiver:
    """Receives for one worker, over one connection, through losses and reopenings.

    Attributes:
        received: how many deliveries have come.
        checked_at: when the broker last agreed that we consume, by the monotonic clock.
    """

    def __init__(
        self,
        connection: Connection,
        queues: Sequence[str],
        pace: Pace,
        clock: Clock,
        arrived: Callable[[Arrival], None],
        stuck: Callable[[], None],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        """Begin with nothing open.

        Args:
            connection: open, and supervised elsewhere.
            queues: what to consume.
            pace: says how much to hold.
            clock: where the time comes from.
            arrived: takes each delivery on; must not raise.
            stuck: every slot has been busy for long: what has not begun is to be given back.
            ready: awaited, through each new connection, before anything is taken.
        """
        self._connection = connection
        self._queues = tuple(queues)
        self._pace = pace
        self._clock = clock
        self._arrived = arrived
        self._stuck = stuck
        self._ready = ready
        self._consumer: Consumer | None = None
        self._held: dict[Consumer, dict[object, Delivery]] = {}
        self._room = asyncio.Event()
        self._stopping = False
        self._disowned = False
        self._prefetch = 0
        self._resized_at = float("-inf")
        self.received = 0
        self.checked_at: float | None = None

    @property
    def consuming(self) -> bool:
        """A consumer is open."""
        return self._consumer is not None

    @property
    def held(self) -> int:
        """How many deliveries are not settled."""
        return sum(map(len, self._held.values()))

    async def run(self) -> None:
        """Receive until `stop`; returns after a lost connection only when told to stop."""
        while not self._stopping:
            await self._connection.ready()
            self._prefetch = self._pace.target
            try:
                await self._connection.declare(self._queues)
                await self._ready()
                async with self._connection.transport.consume(self._queues, prefetch=self._prefetch) as consumer:
                    await self._consume(consumer)
            except ConnectionLost as error:
                logger.warning("lost the consumer: %s", error)
                await self._clock.sleep(TRY_AGAIN)
            except QueueNotFound as error:
                logger.warning("%s; declaring it again", error)
                with contextlib.suppress(ConnectionLost):  # then it is declared when the connection is open again
                    await self._connection.declare_again()
                await self._clock.sleep(TRY_AGAIN)

    def holds(self, consumer: Consumer, delivery: Delivery) -> bool:
        """Return whether a delivery is ours to settle, as far as we know."""
        return delivery.token in self._held.get(consumer, ())

    def settled(self, consumer: Consumer, delivery: Delivery) -> None:
        """Forget a delivery that is out of our hands."""
        held = self._held.get(consumer)
        if held is not None:
            held.pop(delivery.token, None)
        self._room.set()

    async def stop(self) -> None:
        """Take nothing more; what was not handed out goes back."""
        self._stopping = True
        self._room.set()
        if self._consumer is not None:
            with contextlib.suppress(ConnectionLost):
                await self._consumer.stop()

    async def _consume(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._held[consumer] = {}
        self._disowned = False
        self.checked_at = self._clock.monotonic()
        tending = [asyncio.create_task(tend(consumer)) for tend in (self._renew, self._check)]
        try:
            while not self._stopping:
                if self._disowned:
                    raise ConnectionLost("the broker does not know us as a consumer any more")
                await self._resize(consumer)
                room = self._prefetch - len(self._held[consumer])
                if room <= 0:
                    await self._wait_for_room()
                    continue
                batch = await consumer.receive(room, TICK if self._pace.sync_held else WAIT)
                if batch:
                    await self._take(consumer, batch)
            await self._until_settled(consumer)
        finally:
            for task in tending:
                task.cancel()
            await asyncio.gather(*tending, return_exceptions=True)
            self._consumer = None
            del self._held[consumer]

    async def _take(self, consumer: Consumer, batch: Sequence[Delivery]) -> None:
        self.received += len(batch)
        self._held[consumer].update((delivery.token, delivery) for delivery in batch)
        finals = await self._finals(batch)
        for delivery in batch:
            self._arrived(Arrival(consumer, delivery, finals.get(delivery.message.id)))

    async def _finals(self, batch: Sequence[Delivery]) -> Mapping[str, ResultRecord]:
        """Return the final records of tasks that are done already; only what may have been run before is asked for."""
        store = self._connection.store
        suspects = [d.message for d in batch if d.redelivered or OWN_HEADER in d.message.headers]
        if not suspects or not store.capabilities().compare_and_set:
            return {}
        try:
            records = await store.get([message.id for message in suspects])
        except TransportError as error:
            logger.warning("cannot ask the result store for duplicates: %s", error)
            return {}
        pairs = zip(suspects, records, strict=True)
        return {message.id: record for message, record in pairs if record and _is_final(record, message)}

    async def _resize(self, consumer: Consumer) -> None:
        """Follow the pace: at once when it grows much, or a slot would stay idle; at most once a second otherwise."""
        now = self._clock.monotonic()
        wanted = 0 if self._pace.is_stuck(now) else self._pace.target
        if wanted == self._prefetch:
            return
        starved = self._pace.has_free_slot and len(self._held[consumer]) >= self._prefetch
        urgent = starved or wanted == 0 or self._prefetch == 0 or wanted >= 2 * self._prefetch
        near = not starved and abs(wanted - self._prefetch) <= self._prefetch // 4
        if near or (not urgent and now - self._resized_at < RESIZE_AFTER):
            return
        if wanted == 0:
            self._stuck()
        self._prefetch, self._resized_at = wanted, now
        await consumer.set_prefetch(wanted)

    async def _wait_for_room(self) -> None:
        self._room.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK):
                await self._room.wait()

    async def _until_settled(self, consumer: Consumer) -> None:
        """Stay in the consumer's block until everything it delivered is settled: leaving would give it back."""
        while self._held[consumer]:
            self._room.clear()
            await self._room.wait()

    async def _renew(self, consumer: Consumer) -> None:
        """Extend the leases of all that is held, as often as the broker wants."""
        pauses = [self._every(name) for name in self._queues]
        every = min((pause for pause in pauses if pause is not None), default=None)
        while every is not None:
            await self._clock.sleep(every)
            held = list(self._held[consumer].values())
            if not held:
                continue
            try:
                kept = await consumer.extend(held)
            except TransportError as error:  # should the consumer be dead, receive() says so too
                logger.warning("cannot renew the hold on %d deliveries: %s", len(held), error)
                continue
            if not all(kept):
                await self._clock.sleep(TRY_AGAIN)  # what was settled meanwhile is not held any more then
            for delivery, still_ours in zip(held, kept, strict=True):
                if not still_ours and delivery.token in self._held[consumer]:
                    logger.warning("lost the lease of %s; someone else may run it too", delivery.message.id)
                    self.settled(consumer, delivery)

    async def _check(self, consumer: Consumer) -> None:
        """Ask the broker now and then whether it agrees that we consume: a silence looks like an empty queue."""
        while not self._disowned:
            await self._clock.sleep(CHECK_EVERY)
            agreed = await consumer.check()
            self._disowned = not (agreed or self._stopping)
            if agreed:
                self.checked_at = self._clock.monotonic()

    def _every(self, name: str) -> float | None:
        renew = self._connection.capabilities(name).renew_every
        return None if renew is None else renew.total_seconds()


def _is_final(record: ResultRecord, message: Message) -> bool:
    """Return whether the task is done; what was stored before it was sent back as a dead letter does not count."""
    if record.state not in states.FINAL:
        return False
    since = OwnTable.from_headers(message.headers).replayed_at
    return since is None or record.done_at is None or record.done_at > since
