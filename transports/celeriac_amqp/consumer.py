"""The consumer: windows on queues, receiving from all of them in turn, settling on each."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, PublishErrors, TransportError
from celeriac.message import Ack, Dead, Move, Requeue, SettleReceipt
from celeriac.transport import Consumer
from celeriac_amqp.background import Background
from celeriac_amqp.holds import Holds
from celeriac_amqp.pausing import INTERVAL
from celeriac_amqp.signals import QUEUES_TOPIC, listening
from celeriac_amqp.successors import successor
from celeriac_amqp.window import Token, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.message import Action, Delivery, Message, Settlement
    from celeriac_amqp.transport import AmqpTransport

logger = logging.getLogger("celeriac.amqp")

SILENT = 2  # heartbeats
ROUNDING = 0.01  # seconds added to a postponed replacement, so that it is not early by a rounding


class AmqpConsumer(Consumer):
    """See `celeriac.transport.Consumer`.

    A channel that the broker closes takes the deliveries of its queue with it, and is opened again; their tokens are
    then ``LOST``. With the connection all is lost. Acks are ``SENT``: RabbitMQ does not answer them.
    """

    def __init__(self, transport: AmqpTransport, queues: Sequence[str], prefetch: int) -> None:
        """Prepare; `start` begins."""
        self._transport = transport
        self._prefetch = prefetch
        self._clock = transport.clock
        self._error: TransportError | None = None
        self._stopped = False
        self._left = False
        self._background = Background(self._side_failed)
        self._waiters: set[asyncio.Future[None]] = set()
        self._turns = deque(Window(queue, 0, self._clock, self._wake) for queue in dict.fromkeys(queues))
        self._windows = list(self._turns)
        self._by_queue = {window.queue: window for window in self._windows}
        self._by_generation: dict[int, Window] = {}
        self._postponed: set[str] = set()
        self._holds = Holds(transport, self.fail)

    # -- life

    async def start(self) -> None:
        """Open a window on each queue.

        Raises:
            QueueNotFound: one does not exist.
        """
        for window in self._windows:
            await self._open(window)
            window.paused = await self._transport.pauses.is_paused(window.queue)
        self._background.start(self._watch_queues)
        await self.set_prefetch(self._prefetch)

    async def leave(self) -> None:
        """Give everything back and end."""
        self._stopped = self._left = True
        self._wake()
        await self._background.stop()
        if self._error is None:
            with suppress(TransportError):
                await self._holds.give_back()
        await self._holds.close()
        for window in self._windows:
            with suppress(TransportError):
                await window.close()

    def fail(self, error: TransportError) -> None:
        """Be dead, for that reason; whoever waits here hears of it."""
        if self._error is None:
            self._error = error
            self._wake()

    async def stop(self) -> None:
        """Take nothing more, and give back what was not handed out."""
        self._stopped = True
        self._wake()
        if self._error is None:
            for window in self._windows:
                await window.resize(0)

    async def check(self) -> bool:
        """Ask the broker about every queue, and take up anew those that have long been silent.

        For RabbitMQ 3.10, when a quorum queue is deleted and declared again within some 100 ms, keeps our channel
        attached to both: it counts our consumer, hands it messages, and drops them on the way, without a word.
        """
        if self._stopped or self._error is not None:
            return False
        try:
            session = self._transport.control()
            well = all([await window.verify(session) for window in self._windows])
            since = self._clock.monotonic() - SILENT * self._transport.options.heartbeat
            for window in self._windows:
                if window.is_idle(since):
                    await self._take_up(window)
        except TransportError:
            return False
        return well

    async def _take_up(self, window: Window) -> None:
        if await window.retire():
            await self._open(window)
        await self._adjust(window)

    async def _open(self, window: Window) -> None:
        self._by_generation.pop(window.generation, None)
        await window.open(
            self._transport.control(),
            cancelled=lambda: self._background.start(self._resubscribe, window),
            closed=lambda error: self._closed(window, error),
        )
        self._by_generation[window.generation] = window

    def _closed(self, window: Window, error: TransportError) -> None:
        window.lost()
        if isinstance(error, ConnectionLost):
            self.fail(error)
        elif self._error is None and not self._left:
            logger.warning("the channel on queue %r was closed, what it held comes back: %s", window.queue, error)
            self._background.start(self._reopen, window)

    async def _reopen(self, window: Window) -> None:
        await self._open(window)
        await self._adjust(window)

    async def _resubscribe(self, window: Window) -> None:
        logger.warning("the broker ended our consumer of queue %r; declaring the queue again", window.queue)
        await self._transport.declare_again(window.queue)
        await self._adjust(window)

    def _side_failed(self, error: Exception) -> None:
        if not isinstance(error, TransportError):
            logger.error("a consumer failed: %s", error, exc_info=error)
        self.fail(ConnectionLost(str(error)))

    # -- receiving

    async def receive(self, limit: int, wait: float) -> Sequence[Delivery]:
        """Return what is there, waiting up to ``wait`` seconds for the first."""
        if self._error is None and not self._stopped and not any(window.ready for window in self._windows):
            await self._arrival(wait)
        if self._stopped:
            return []
        if self._error is not None:
            raise ConnectionLost(str(self._error)) from self._error
        return self._take(limit)

    async def _arrival(self, wait: float) -> None:
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters.add(waiter)
        timer = loop.call_later(wait, _release, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            _release(waiter)

    def _take(self, limit: int) -> list[Delivery]:
        taken: list[Delivery] = []
        levels = self._transport.declarations.levels
        while len(taken) < limit:
            before = len(taken)
            for window in self._turns:
                if window.ready and len(taken) < limit:
                    taken.append(window.hand_out(levels(window.queue)))
            if len(taken) == before:
                break
        self._turns.rotate(-1)
        return taken

    # -- settling

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettleReceipt]:
        """Settle; the messages of all moves are published and confirmed first, then everything is written."""
        if self._error is not None:
            raise ConnectionLost(str(self._error)) from self._error
        ours = self._check_tokens(settlements)
        await self._publish_moves([(token, s.action) for token, s in zip(ours, settlements, strict=True) if token])
        if self._error is not None:
            raise ConnectionLost(str(self._error)) from self._error
        acks: dict[Window, set[int]] = {}
        receipts: list[SettleReceipt] = []
        for token, settlement in zip(ours, settlements, strict=True):
            written = token is not None and self._write(token, settlement.action, acks)
            receipts.append(SettleReceipt.SENT if written else SettleReceipt.LOST)
        for window, tags in acks.items():
            window.ack(tags)
        self._after_settling()
        return receipts

    def _check_tokens(self, settlements: Sequence[Settlement]) -> list[Token | None]:
        """Return for each its token if it is ours to settle, ``None`` if it is lost.

        Raises:
            ValueError: one was settled before, or stands here twice.
        """
        ours: list[Token | None] = []
        seen: set[Token] = set()
        for settlement in settlements:
            token = settlement.token
            if not isinstance(token, Token):
                ours.append(None)
                continue
            if token in seen:
                raise ValueError(f"{token} is settled twice in one call")
            seen.add(token)
            window = self._by_generation.get(token.generation)
            held = token in self._holds or (window is not None and token.tag in window.held)
            if not held and window is not None and window.was_handed_out(token.tag):
                raise ValueError(f"{token} was settled before")
            ours.append(token if held else None)
        return ours

    async def _publish_moves(self, settlements: Sequence[tuple[Token, Action]]) -> None:
        """Publish what the settlements put in the place of deliveries, all at once.

        Raises:
            PublishErrors: not everything was confirmed.
        """
        messages: list[Message] = []
        for token, action in settlements:
            messages += await self._replacements(token, action)
        if messages:
            receipts = await self._transport.publish_unchecked(messages)
            failed = [message for message, receipt in zip(messages, receipts, strict=True) if not receipt.ok]
            if failed:
                self._transport.declarations.forget_dead()
                raise PublishErrors(receipts, failed)

    async def _replacements(self, token: Token, action: Action) -> Sequence[Message]:
        if isinstance(action, Ack):
            return ()
        if isinstance(action, Move):
            delivered = self._delivery_of(token).message.body
            for message in action.messages:
                self._transport.refuse_unkept(message)
                if message.body is not delivered and message.body != delivered:  # what came is not too large to go back
                    self._transport.refuse_large(message)
            return action.messages
        if isinstance(action, Requeue) and not action.delay and token not in self._holds:
            return ()
        delivery = self._delivery_of(token)
        if isinstance(action, Dead):
            await self._transport.declarations.dead(delivery.queue)
        replacement = successor(delivery, action, self._clock.now())
        self._transport.refuse_unkept(replacement)
        return (replacement,)

    def _delivery_of(self, token: Token) -> Delivery:
        held = self._holds.get(token)
        if held is not None:
            return held
        window = self._by_generation[token.generation]
        levels = self._transport.declarations.levels(window.queue)
        return window.held[token.tag].delivery(window.queue, token.generation, levels)

    def _write(self, token: Token, action: Action, acks: dict[Window, set[int]]) -> bool:
        """Settle one delivery, or note its ack; ``False`` if it was lost meanwhile."""
        held = self._holds.get(token)
        if held is not None:
            self._holds.settle(token)
            self._by_queue[held.queue].elsewhere -= 1
            return True
        window = self._by_generation.get(token.generation)
        if window is None or token.tag not in window.held:
            return False
        if isinstance(action, Requeue) and not action.delay:
            window.give_back((token.tag,))
        else:
            acks.setdefault(window, set()).add(token.tag)
        return True

    # -- how much, and for how long

    async def set_prefetch(self, prefetch: int) -> None:
        """Share ``prefetch`` out among the queues, at least one each."""
        self._prefetch = prefetch
        if self._error is not None:
            raise ConnectionLost(str(self._error)) from self._error
        if self._stopped:
            return
        share, rest = divmod(prefetch, len(self._windows))
        for position, window in enumerate(self._windows):
            wanted = share + (1 if position < rest else 0)
            self._postpone(window, await window.resize(max(1, wanted) if prefetch else 0))

    async def _adjust(self, window: Window) -> None:
        self._postpone(window, await window.adjust())

    def _postpone(self, window: Window, seconds: float) -> None:
        if seconds > 0 and window.queue not in self._postponed:
            self._postponed.add(window.queue)
            self._background.start(self._adjust_later, window, seconds + ROUNDING)

    async def _adjust_later(self, window: Window, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._postponed.discard(window.queue)
        await self._adjust(window)

    def _after_settling(self) -> None:
        for window in self._windows:
            if not (self._stopped or window.satisfied or window.queue in self._postponed):
                self._postpone(window, ROUNDING)

    async def extend(self, deliveries: Sequence[Delivery]) -> Sequence[bool]:
        """Keep the broker from taking back what is held for long: see `celeriac_amqp.holds`."""
        if self._error is not None:
            raise ConnectionLost(str(self._error)) from self._error
        before = self._clock.monotonic() - self._transport.options.hold_limit
        for window in self._windows:
            window.give_back_stale(before)
        tokens = [delivery.token for delivery in deliveries]
        overdue = [token for token in tokens if isinstance(token, Token) and self._held_since(token) < before]
        if overdue:
            await self._holds.move([self._delivery_of(token) for token in overdue], self._swap)
        return [isinstance(token, Token) and self._held_since(token) < float("inf") for token in tokens]

    def _held_since(self, token: Token) -> float:
        """Return when it arrived; infinity for what is not held."""
        if token in self._holds:
            return self._holds.since(token)
        window = self._by_generation.get(token.generation)
        arrived = window.held.get(token.tag) if window else None
        return arrived.at if arrived else float("inf")

    async def _swap(self, token: Token) -> bool:
        """Let go of the first hold on a delivery whose copy we hold now; ``False`` if there is none any more."""
        window = self._by_generation.get(token.generation)
        if window is None or token.tag not in window.held:
            return False
        window.elsewhere += 1
        await self._adjust(window)
        if token.tag not in window.held:
            window.elsewhere -= 1
            return False
        window.ack({token.tag})
        self._after_settling()  # its consumer may have been ended to make room for the move
        return True

    # -- what others do to our queues

    async def _watch_queues(self) -> None:
        """Look at the pause flags on every signal, and every 30 seconds, for a signal may be missed.

        Delayed messages that had lost their queue have another try then.
        """
        async with listening(self._transport.control, QUEUES_TOPIC) as signals:
            while True:
                for window in self._windows:
                    window.paused = await self._transport.pauses.is_paused(window.queue)
                    if not self._stopped:
                        await self._adjust(window)
                await self._transport.send_lost()
                for body in await signals.all_within(INTERVAL):
                    told = json.loads(body)
                    if told["event"] == "deleted" and told["queue"] in self._by_queue:
                        await self._renew(self._by_queue[told["queue"]])

    async def _renew(self, window: Window) -> None:
        """Begin again on another channel: the queue was deleted, and what we held with it."""
        await window.close()
        if not self._stopped:
            await self._transport.declare_again(window.queue)
            await self._reopen(window)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
