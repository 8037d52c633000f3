"""The consuming half of the port."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from celeriac.errors import PublishError, TransportError
from celeriac.message import REQUEUE, Dead, Delivery, Move, Requeue, SettleReceipt
from celeriac.transport import Consumer
from celeriac.transport_helpers import dead_as_move
from celeriac_nats.acking import ACK, IN_PROGRESS, tell
from celeriac_nats.names import READY
from celeriac_nats.promoting import Promoter
from celeriac_nats.publishing import send
from celeriac_nats.pulling import LATE, WAIT
from celeriac_nats.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from celeriac.clock import Clock
    from celeriac.message import Settlement
    from celeriac_nats.link import Link
    from celeriac_nats.posting import Postmaster
    from celeriac_nats.window import Arrived


class Token(NamedTuple):
    """Names a hand-over: the consumer it was made to, and its number there."""

    consumer: str
    serial: int


class NatsConsumer(Consumer):
    """Deliveries of several queues, each with its share of the prefetch.

    stream ──pull──▶ buffered ──receive──▶ held ──settle──▶ acked
                        └──── stop, smaller prefetch, pause: published anew, acked
    """

    def __init__(self, link: Link, post: Postmaster, queues: Sequence[str], prefetch: int, clock: Clock) -> None:
        """Consume ``queues``, which exist."""
        self._link = link
        self._post = post
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._serials = itertools.count(1)
        self._news = asyncio.Event()
        self._stopped = False
        self._held: dict[Token, Arrived] = {}
        catalog, names = post.catalog, tuple(dict.fromkeys(queues))
        self._windows = {name: Window(link, name, 0, catalog.lease(name), clock, self._news.set) for name in names}
        self._turn = deque(self._windows.values())
        self._share(prefetch)
        self._promoters = [Promoter(link, name, clock) for name in names]
        catalog.watchers.append(self._news.set)

    async def receive(self, limit: int, wait: float) -> Sequence[Delivery]:
        """Return deliveries as soon as there are any."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        while True:
            self._link.check()
            self._news.clear()
            await self._heed_pauses()
            if (taken := self._take(limit)) or self._stopped:
                return taken
            left = deadline - loop.time()
            if left <= 0:
                return ()
            for window in self._open():
                await window.ask(limit, left)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, WAIT + LATE)):
                    await self._link.ask(self._news.wait(), "waiting for messages")

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettleReceipt]:
        """Publish what replaces deliveries, confirmed, then ack them."""
        self._link.check()
        tokens = [_token(settlement.token) for settlement in settlements]
        self._refuse_settled(tokens)
        now = self._clock.now()
        lost = {token for token in tokens if token not in self._held or self._held[token].lease_until <= now}
        ours = [(self._held[token], one) for token, one in zip(tokens, settlements, strict=True) if token not in lost]
        await self._replace(ours)
        self._forget(tokens)
        await tell(self._link, [arrived.reply for arrived, _ in ours], ACK)
        return [SettleReceipt.LOST if token in lost else SettleReceipt.DONE for token in tokens]

    async def extend(self, deliveries: Sequence[Delivery]) -> Sequence[bool]:
        """Tell the server that they are in progress."""
        self._link.check()
        now = self._clock.now()
        found = [self._held.get(_token(delivery.token)) for delivery in deliveries]
        ours = [arrived if arrived is not None and arrived.lease_until > now else None for arrived in found]
        await tell(self._link, [arrived.reply for arrived in ours if arrived], IN_PROGRESS)
        for arrived in filter(None, ours):
            arrived.lease_until = self._windows[arrived.queue].renewed(now)
        return [arrived is not None for arrived in ours]

    async def set_prefetch(self, prefetch: int) -> None:
        """Ask anew, for the new number; what was not handed out goes back."""
        self._link.check()
        self._share(prefetch)
        await self._return_surplus(self._windows.values())
        self._news.set()

    async def check(self) -> bool:
        """Ask the server for each queue's durable consumer."""
        if self._stopped or any(promoter.ended for promoter in self._promoters):
            return False
        try:
            self._link.check()
            for name in self._windows:
                await self._link.ask(
                    self._link.js.consumer_info(self._link.names.stream(name), READY), f"cannot look at {name!r}"
                )
        except TransportError:
            return False
        return True

    async def stop(self) -> None:
        """Ask for nothing more, and give back what was not handed out."""
        if not self._stopped:
            self._stopped = True
            self._news.set()
            self._post.catalog.watchers.remove(self._news.set)
            await asyncio.gather(*(promoter.stop() for promoter in self._promoters))
            await self._return_surplus(self._windows.values())

    async def leave(self) -> None:
        """Stop, and give back all that is held; where the connection is lost the leases see to that."""
        with suppress(TransportError):
            await self.stop()
            held, self._held = list(self._held.values()), {}
            await self._give_back(held)

    def _share(self, prefetch: int) -> None:
        share, more = divmod(prefetch, len(self._windows))
        for index, window in enumerate(self._windows.values()):
            window.share = max(1, share + (index < more)) if prefetch else 0

    def _open(self) -> Sequence[Window]:
        paused = self._post.catalog.paused
        return [window for window in self._turn if window.queue not in paused]

    async def _heed_pauses(self) -> None:
        paused = self._post.catalog.paused
        await self._return_surplus([window for window in self._turn if window.queue in paused and window.expected])

    def _take(self, limit: int) -> list[Delivery]:
        """Hand out what has come, a queue at a time, beginning with another one each time."""
        self._turn.rotate(-1)
        windows, taken = self._open(), list[Delivery]()
        share = max(1, limit // max(1, len(windows)))
        for most in (share, limit):
            for window in windows:
                for arrived in window.hand_out(min(most, limit - len(taken))):
                    token = Token(self._name, next(self._serials))
                    self._held[token] = arrived
                    taken.append(_delivery(token, arrived))
        return taken

    def _refuse_settled(self, tokens: Sequence[Token]) -> None:
        known = {token for token in tokens if token.consumer != self._name or token in self._held}
        if len(known) < len(tokens):
            raise ValueError("a delivery was settled before, or is settled twice in one call")

    async def _replace(self, ours: Sequence[tuple[Arrived, Settlement]]) -> None:
        """Publish every successor, dead letter and returned message.

        Raises:
            PublishError: one of them was not taken.
        """
        parcels = []
        for arrived, settlement in ours:
            match settlement.action:
                case Move(messages):
                    parcels += await self._post.moved(arrived, messages)
                case Dead(letter):
                    move = dead_as_move(_delivery(settlement.token, arrived), letter, self._clock.now())
                    await self._post.make_dead_queue(arrived.queue)
                    parcels += await self._post.moved(arrived, move.messages)
                case Requeue() as requeue:
                    parcels.append(self._post.returned(arrived, requeue))
        for receipt in await send(self._link, parcels):
            if not receipt.ok:
                raise PublishError(f"not published, so nothing was settled: {receipt}")

    def _forget(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            arrived = self._held.pop(token, None)
            if arrived is not None:
                self._windows[arrived.queue].held -= 1
        self._news.set()  # there is room again

    async def _return_surplus(self, windows: Iterable[Window]) -> None:
        for window in windows:
            await self._give_back(await window.halt())

    async def _give_back(self, surplus: Sequence[Arrived]) -> None:
        parcels = [self._post.returned(arrived, REQUEUE) for arrived in surplus]
        receipts = await send(self._link, parcels)
        pairs = zip(surplus, receipts, strict=True)
        await tell(self._link, [arrived.reply for arrived, receipt in pairs if receipt.ok], ACK)


def _token(token: object) -> Token:
    return token if isinstance(token, Token) else Token("", 0)


def _delivery(token: object, arrived: Arrived) -> Delivery:
    return Delivery(
        message=arrived.message,
        queue=arrived.queue,
        token=token,
        redelivered=arrived.returns > 0,
        returns=arrived.returns,
        lease_until=arrived.lease_until,
    )
