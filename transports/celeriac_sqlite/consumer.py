"""The consuming half of the port on a `Session`."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from typing import TYPE_CHECKING, Any

from celeriac.errors import TransportError, Unsupported
from celeriac.message import Dead, Delivery, Move, Requeue, SettleReceipt
from celeriac.transport import Consumer
from celeriac.transport_helpers import dead_letter
from celeriac_sqlite.capabilities import MAX_DELAY
from celeriac_sqlite.operations.claim import Claim, Claimed, Token, claim, look
from celeriac_sqlite.operations.follow import mark
from celeriac_sqlite.operations.publish import Outgoing
from celeriac_sqlite.operations.settle import Extend, Settle, delay_of, extend, settle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from celeriac.clock import Clock
    from celeriac.message import Settlement
    from celeriac_sqlite.session import Session

logger = logging.getLogger(__name__)

NOT_OURS = Token("", 0, 0)


class SqliteConsumer(Consumer):
    """Claims no more than it hands out, so that nothing waits here; one claim at a time is under way.

    waiting ──claim──▶ fetched ──receive──▶ held ──settle──▶ gone
                          └──────── stop, or a smaller prefetch ──────▶ given back
    """

    def __init__(
        self,
        session: Session,
        queues: Sequence[str],
        prefetch: int,
        lease: timedelta,
        clock: Clock,
        event: asyncio.Event,
    ) -> None:
        """Consume from ``queues``; ``event`` is set when there may be something new."""
        self._session = session
        self._queues = deque(dict.fromkeys(queues))
        self._prefetch = prefetch
        self._lease = lease
        self._clock = clock
        self._event = event
        self._name = secrets.token_hex(8)
        self._claiming: asyncio.Future[Any] | None = None
        self._fetched: deque[Delivery] = deque()
        self._held: dict[Token, Delivery] = {}
        self._returned: frozenset[Token] = frozenset()
        self._stopped = False
        self._idle = False

    async def receive(self, limit: int, wait: float) -> Sequence[Delivery]:
        """Return deliveries as soon as there are any."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        self._session.refuse_closed()
        while not self._stopped:
            self._event.clear()  # before looking: what comes meanwhile sets it again
            pause: float | None = None
            if not self._fetched and (room := min(limit, self._room())) > 0:
                pause = await self._claim(room)
            if taken := self._take(limit):
                return taken
            if self._stopped or loop.time() >= deadline:
                break
            await self._rest(deadline if pause is None else min(deadline, loop.time() + pause))
            self._session.refuse_closed()
        return ()

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettleReceipt]:
        """Settle deliveries, all in one transaction."""
        call = self._settling(settlements)
        if not call.tokens:
            return [SettleReceipt.LOST] * len(settlements)
        held = {token: self._held.pop(token) for token in call.tokens}
        try:
            receipts = await self._session.write(settle, call, weight=len(held))
        except TransportError:
            self._held |= held  # nothing was written or, if the database was lost, the fence will know
            raise
        self._event.set()  # there is room again
        answers = dict(zip(call.tokens, receipts, strict=True))
        return [answers.get(_token(one), SettleReceipt.LOST) for one in settlements]

    async def extend(self, deliveries: Sequence[Delivery]) -> Sequence[bool]:
        """Renew leases."""
        tokens = [token for one in deliveries if (token := _token(one)) in self._held]
        if not tokens:
            return [False] * len(deliveries)
        renewed = await self._session.write(extend, Extend(tokens, self._lease, self._clock), weight=len(tokens))
        answers = dict(zip(tokens, renewed, strict=True))
        return [answers.get(_token(one), False) for one in deliveries]

    async def set_prefetch(self, prefetch: int) -> None:
        """Change how many are held at most."""
        self._prefetch = prefetch
        await self._claimed()
        await self._give_back(-self._room())
        self._event.set()

    async def check(self) -> bool:
        """Ask the file something."""
        if self._stopped or not self._session.is_open:
            return False
        try:
            await self._session.read(mark, None)
        except TransportError:
            return False
        return not self._stopped

    async def stop(self) -> None:
        """Deliver no more."""
        self._stopped = True
        self._event.set()
        await self._claimed()
        await self._give_back(len(self._fetched))

    async def leave(self) -> list[Token]:
        """Stop, and give back what is unsettled; return what could not be given back, as the database is lost."""
        self._stopped = True
        self._event.set()
        await self._claimed()
        tokens = [*self._held, *map(_token, self._fetched)]
        self._returned = frozenset(tokens)
        self._held.clear()
        self._fetched.clear()
        try:
            await give_back(self._session, tokens, self._clock)
        except TransportError as error:
            logger.debug("not given back: %s", error)
            return tokens
        return []

    # -- claiming

    async def _claim(self, limit: int) -> float | None:
        """Fetch up to ``limit``; return the seconds after which more may come by itself, if there was nothing."""
        if self._claiming is None:
            call = Claim(self._name, [*self._queues], limit, self._lease, self._clock)
            self._queues.rotate(-1)  # another queue is favoured next time
            # a busy consumer claims at once; an idle one looks first, as looking excludes nobody
            self._claiming = self._session.write(claim, call, look=look if self._idle else None, weight=limit)
            self._claiming.add_done_callback(self._arrived)
        claimed: Claimed = await asyncio.shield(self._claiming)
        if claimed.next_due is None:
            return None
        return max(0.0, (claimed.next_due - self._clock.now()).total_seconds())

    def _arrived(self, claiming: asyncio.Future[Any]) -> None:
        self._claiming = None
        if not claiming.cancelled() and claiming.exception() is None:
            deliveries = claiming.result().deliveries
            self._idle = not deliveries
            self._fetched.extend(deliveries)

    async def _claimed(self) -> None:
        if self._claiming is not None:
            await asyncio.wait([self._claiming])

    def _take(self, limit: int) -> list[Delivery]:
        taken: list[Delivery] = []
        now = self._clock.now()
        while self._fetched and len(taken) < limit and not self._stopped:
            delivery = self._fetched.popleft()
            if delivery.lease_until is None or delivery.lease_until > now:  # else it lay here too long
                taken.append(delivery)
        self._held |= {_token(delivery): delivery for delivery in taken}
        return taken

    def _room(self) -> int:
        return self._prefetch - len(self._held) - len(self._fetched)

    async def _rest(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._event.wait()
        except TimeoutError:
            return

    # -- giving back

    async def _give_back(self, count: int) -> None:
        surplus = [self._fetched.pop() for _ in range(min(count, len(self._fetched)))]
        await give_back(self._session, [*map(_token, surplus)], self._clock)

    # -- settling

    def _settling(self, settlements: Sequence[Settlement]) -> Settle:
        """Return what is to be written for those of ``settlements`` that are ours.

        Raises:
            ValueError: one was settled before.
            Unsupported: a delay or a header that no broker carries.
        """
        delays: dict[Token, int] = {}
        moves: dict[Token, Sequence[Outgoing]] = {}
        tokens: dict[Token, None] = {}
        dead: set[str] = set()
        for one in settlements:
            token = _token(one)
            if token.consumer != self._name or token in self._returned:
                continue
            if token in tokens or token not in self._held:
                raise ValueError(f"{token} was settled before")
            tokens[token] = None
            match one.action:
                case Requeue(delay):
                    if delay > MAX_DELAY:
                        raise Unsupported(f"SQLite delays by {MAX_DELAY} at most, not by {delay}")
                    delays[token] = delay_of(delay)
                case Move(messages):
                    moves[token] = Outgoing.of(messages)
                case Dead(letter):
                    delivery = self._held[token]
                    dead.add(delivery.queue)
                    moves[token] = Outgoing.of([dead_letter(delivery, letter, self._clock.now())])
        return Settle([*tokens], self._clock, delays, moves, frozenset(dead))


async def give_back(session: Session, tokens: Sequence[Token], clock: Clock) -> None:
    """Make ready at once, and uncounted, what is still held by ``tokens``."""
    if tokens:
        call = Settle(tokens, clock, delays=dict.fromkeys(tokens, 0))
        await session.write(settle, call, weight=len(tokens))


def _token(one: Delivery | Settlement) -> Token:
    return one.token if isinstance(one.token, Token) else NOT_OURS
