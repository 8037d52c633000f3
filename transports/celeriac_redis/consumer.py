"""The consuming half of the port on a `Session`."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celeriac.errors import TransportError, Unroutable, Unsupported
from celeriac.message import Dead, Delivery, Move, Requeue, SettleReceipt
from celeriac.topology import Queue
from celeriac.transport import Consumer
from celeriac.transport_helpers import dead_letter, refuse_unsupported
from celeriac_redis import programs
from celeriac_redis.capabilities import MAX_DELAY, capabilities
from celeriac_redis.envelope import decode
from celeriac_redis.programs import MICROSECOND, message_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from celeriac.clock import Clock
    from celeriac.message import Message, Settlement
    from celeriac_redis.options import Options
    from celeriac_redis.scripts import Argument
    from celeriac_redis.session import Session

logger = logging.getLogger("celeriac.redis")

LOOK_AGAIN = 1.0  # seconds: who sleeps is woken; this is for what nobody tells, as a lease that ended early
SOONEST = 0.001  # seconds until the next look for what falls due
NOT_OURS = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What is held under one tag."""

    tag: str
    queue: str


class RedisConsumer(Consumer):
    """Claims no more than it hands out, so that nothing waits here; one claim at a time is under way.

    waiting ──claim──▶ fetched ──receive──▶ held ──settle──▶ gone
                          └──────── stop, or a smaller prefetch ──────▶ given back
    """

    def __init__(
        self,
        session: Session,
        queues: Sequence[str],
        prefetch: int,
        options: Options,
        clock: Clock,
        levels: dict[str, int],
    ) -> None:
        """Consume from ``queues``.

        Args:
            session: open.
            queues: their names.
            prefetch: how many are held at most.
            options: of the URL.
            clock: tells whether a lease has ended.
            levels: how many priorities each queue keeps.
        """
        self._session = session
        self._queues = deque(dict.fromkeys(queues))
        self._prefetch = prefetch
        self._options = options
        self._lease = int(options.lease / MICROSECOND.total_seconds())
        self._clock = clock
        self._levels = levels
        self._stem = f"celeriac:{secrets.token_hex(8)}:"
        self._serial = 0
        self._claiming: asyncio.Task[float | None] | None = None
        self._fetched: deque[tuple[Delivery, float]] = deque()  # with the end of the lease, by the monotonic clock
        self._held: dict[str, Delivery] = {}
        self._returned: frozenset[str] = frozenset()
        self._stopped = False
        self._open: Sequence[str] = ()
        self.event = asyncio.Event()

    def rung(self, _body: bytes) -> None:
        """Take note that there may be something new."""
        self.event.set()

    async def receive(self, limit: int, wait: float) -> Sequence[Delivery]:
        """Return deliveries as soon as there are any."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        self._session.refuse_closed()
        while not self._stopped:
            self.event.clear()  # before looking: what comes meanwhile sets it again
            pause: float | None = None
            room = min(limit, self._room())
            if not self._fetched and room > 0:
                pause = await self._claim(room)
            if taken := self._take(limit):
                return taken
            if self._stopped or loop.time() >= deadline:
                break
            if room > 0:
                self._session.watch(self._open, self.event)
            longest = LOOK_AGAIN if pause is None else min(LOOK_AGAIN, pause)
            await self._rest(min(deadline, loop.time() + longest))
            self._session.refuse_closed()
            if loop.time() >= deadline and not self.event.is_set():
                break  # nobody rang: who asks again looks first thing
        return ()

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettleReceipt]:
        """Settle deliveries, all in one step."""
        self._session.refuse_closed()
        tags, arguments = self._settling(settlements)
        if not tags:
            return [SettleReceipt.LOST] * len(settlements)
        held = {tag: self._held.pop(tag) for tag in tags}
        try:
            receipts = await self._settled(arguments)
        except TransportError:
            self._held |= held  # nothing was written or, if the connection was lost, the tags will tell
            raise
        self.event.set()  # there is room again
        answers = dict(zip(tags, receipts, strict=True))
        return [_receipt(answers.get(_tag(one), 0)) for one in settlements]

    async def extend(self, deliveries: Sequence[Delivery]) -> Sequence[bool]:
        """Renew leases."""
        tags = [tag for one in deliveries if (tag := _tag(one)) in self._held]
        if not tags:
            return [False] * len(deliveries)
        pairs = [argument for tag in tags for argument in (tag, self._held[tag].queue)]
        renewed = await self._session.run(programs.EXTEND, self._lease, *pairs)
        answers = dict(zip(tags, renewed, strict=True))
        return [answers.get(_tag(one), 0) == 1 for one in deliveries]

    async def set_prefetch(self, prefetch: int) -> None:
        """Change how many are held at most."""
        self._prefetch = prefetch
        await self._claimed()
        await self._give_back(-self._room())
        self.event.set()

    async def check(self) -> bool:
        """Ask whether the server lives and the queues exist."""
        if self._stopped or not self._session.is_open:
            return False
        try:
            found = await self._session.ask("HMGET", self._session.layout.queues, *self._queues)
        except TransportError:
            return False
        return not self._stopped and all(declared is not None for declared in found)

    async def stop(self) -> None:
        """Deliver no more."""
        self._stopped = True
        self.event.set()
        await self._claimed()
        await self._give_back(len(self._fetched))

    async def leave(self) -> list[Held]:
        """Stop, and give back what is unsettled; return what could not be, as the connection is lost."""
        self._stopped = True
        self.event.set()
        await self._claimed()
        held = [Held(_tag(one), one.queue) for one in (*self._held.values(), *(one for one, _ in self._fetched))]
        self._returned = frozenset(one.tag for one in held)
        self._held.clear()
        self._fetched.clear()
        try:
            await give_back(self._session, held)
        except TransportError as error:
            logger.debug("not given back: %s", error)
            return held
        return []

    # -- claiming

    async def _claim(self, limit: int) -> float | None:
        """Fetch up to ``limit``; return the seconds after which more may come by itself, if there was nothing."""
        if self._claiming is None:
            self._claiming = asyncio.get_running_loop().create_task(self._fetch(limit))
            self._claiming.add_done_callback(_seen)
        return await asyncio.shield(self._claiming)

    async def _fetch(self, limit: int) -> float | None:
        try:
            lease = timedelta(seconds=self._options.lease)
            until, expires = self._clock.now() + lease, self._clock.monotonic() + self._options.lease
            queues = [*self._queues]
            self._queues.rotate(-1)  # another queue is favoured next time
            serial, self._serial = self._serial, self._serial + limit
            answer = await self._session.run(programs.CLAIM, self._stem, serial, limit, self._lease, *queues)
            now, next_due, places = int(answer[0]), answer[1], answer[2]
            self._open = [queues[int(place) - 1] for place in places.split(b",")] if places else ()
            for at in range(3, len(answer), 3):
                delivery = self._delivery(queues[answer[at] - 1], answer[at + 1], answer[at + 2], until)
                self._fetched.append((delivery, expires))
            return max(SOONEST, (int(next_due) - now) * MICROSECOND.total_seconds()) if next_due else None
        finally:
            self._claiming = None

    def _delivery(self, queue: str, tag: bytes, envelope: bytes, until: datetime) -> Delivery:
        received = decode(envelope, self._levels[queue])
        return Delivery(
            message=received.message,
            queue=queue,
            token=tag.decode(),
            delivery_count=received.deliveries + 1,
            redelivered=received.redelivered,
            returns=received.returns,
            lease_until=until,
        )

    async def _claimed(self) -> None:
        if self._claiming is not None:
            await asyncio.wait([self._claiming])

    def _take(self, limit: int) -> list[Delivery]:
        taken: list[Delivery] = []
        now = self._clock.monotonic()
        while self._fetched and len(taken) < limit and not self._stopped:
            delivery, expires = self._fetched.popleft()
            if now < expires:  # else it lay here too long
                taken.append(delivery)
        self._held.update((_tag(delivery), delivery) for delivery in taken)
        return taken

    def _room(self) -> int:
        return self._prefetch - len(self._held) - len(self._fetched)

    async def _rest(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self.event.wait()
        except TimeoutError:
            return

    # -- giving back

    async def _give_back(self, count: int) -> None:
        surplus = [self._fetched.pop()[0] for _ in range(min(count, len(self._fetched)))]
        await give_back(self._session, [Held(_tag(one), one.queue) for one in reversed(surplus)])

    # -- settling

    def _settling(self, settlements: Sequence[Settlement]) -> tuple[list[str], list[Argument]]:
        """Return the tags of those that are ours, and the arguments of the script.

        Raises:
            ValueError: one was settled before.
            Unsupported: a delay or a header that no broker carries.
        """
        tags: dict[str, None] = {}
        arguments: list[Argument] = []
        for one in settlements:
            tag = _tag(one)
            if not tag.startswith(self._stem) or tag in self._returned:
                continue
            if tag in tags or tag not in self._held:
                raise ValueError(f"{tag} was settled before")
            tags[tag] = None
            delivery = self._held[tag]
            match one.action:
                case Requeue(delay):
                    if delay > MAX_DELAY:
                        raise Unsupported(f"queue {delivery.queue!r} delays by {MAX_DELAY} at most, not by {delay}")
                    arguments += ("requeue", tag, delivery.queue, max(0, delay // MICROSECOND))
                case Move(messages):
                    arguments += ("move", tag, delivery.queue, len(messages), *self._moved(messages))
                case Dead(letter):
                    dead = dead_letter(delivery, letter, self._clock.now())
                    arguments += ("dead", tag, delivery.queue, 1, *self._moved([dead]))
                case _:
                    arguments += ("ack", tag, delivery.queue)
        return [*tags], arguments

    def _moved(self, messages: Sequence[Message]) -> list[Argument]:
        now = self._clock.now()
        arguments: list[Argument] = []
        for message in messages:
            refuse_impossible(message, self._options, now)
            arguments += message_arguments(message, now)
        return arguments

    async def _settled(self, arguments: Sequence[Argument]) -> Sequence[int]:
        """Run the script.

        Raises:
            PublishError: a message could not be moved.
            Unsupported: a queue does not keep the priority of one.
        """
        verdict: bytes
        rest: list[Any]
        verdict, *rest = await self._session.run(programs.SETTLE, *arguments)
        match verdict:
            case b"refused":
                raise refused(rest[0].decode())
            case b"unroutable":
                raise Unroutable(f"what was to be moved was not: no {rest[1].decode()} takes it")
            case b"failed":
                raise Unroutable(f"what was to be moved was not: {rest[0].decode()}")
        return rest


async def give_back(session: Session, held: Sequence[Held]) -> None:
    """Make ready at once, and uncounted, what is still held."""
    if held:
        arguments = [argument for one in held for argument in ("requeue", one.tag, one.queue, 0)]
        await session.run(programs.SETTLE, *arguments)


def refuse_impossible(message: Message, options: Options, now: datetime) -> None:
    """Raise for a priority that is none, and for a delay that is too long; the rest the server's script refuses.

    Raises:
        ConfigurationError: the priority is not 0 to 9.
        Unsupported: the delay.
    """
    if message.priority or message.not_before is not None:
        queue = Queue(message.routing_key or message.exchange or "?", priorities=10)
        refuse_unsupported(message, queue, capabilities(queue, options), now)


def refused(queue: str) -> Unsupported:
    """Return the error for a priority that ``queue`` does not keep."""
    return Unsupported(f"queue {queue!r} does not keep that priority; declare it with Queue({queue!r}, priorities=10)")


def _seen(claiming: asyncio.Task[float | None]) -> None:
    """Let nobody complain that an error was not looked at: whoever waited for the claim was cancelled."""
    if not claiming.cancelled():
        claiming.exception()


def _receipt(answer: int) -> SettleReceipt:
    return SettleReceipt.DONE if answer else SettleReceipt.LOST


def _tag(one: Delivery | Settlement) -> str:
    return one.token if isinstance(one.token, str) else NOT_OURS
