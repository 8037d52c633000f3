"""A consumer of the memory broker, and the link it hangs on."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from celeriac.transport import Consumer
from celeriac_memory.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime, timedelta

    from celeriac.clock import Clock
    from celeriac.errors import TransportError
    from celeriac.message import Delivery, Settlement, SettleReceipt
    from celeriac_memory.broker import Broker
    from celeriac_memory.queue import Window


class Link:
    """One open transport's hold on a broker, from `open` until it is closed or lost."""

    def __init__(self, broker: Broker) -> None:
        """Hold ``broker``."""
        self.broker = broker
        self._error: TransportError | None = None
        self._windows: list[Window] = []
        self._ends: list[Callable[[TransportError], None]] = []

    def check(self) -> None:
        """Raise what ended the link, if it has ended."""
        if self._error is not None:
            raise self._error

    def enter(self, window: Window) -> None:
        """Close ``window`` when the link ends."""
        self._windows.append(window)

    def leave(self, window: Window, now: datetime) -> None:
        """Close ``window``, unless the link's end has done it."""
        if window in self._windows:
            self._windows.remove(window)
            self.broker.leave(window, now, lost=False)

    @contextmanager
    def following(self, end: Callable[[TransportError], None]) -> Iterator[None]:
        """Call ``end`` when the link ends within this block."""
        self._ends.append(end)
        try:
            yield
        finally:
            self._ends.remove(end)

    def drop(self, error: TransportError, now: datetime, *, lost: bool) -> None:
        """End the link: consumers give back what they hold, and everyone who waits is told."""
        self._error = error
        for window in self._windows:
            self.broker.leave(window, now, lost=lost)
            window.ring()
        self._windows.clear()
        for end in self._ends:
            end(error)


class MemoryConsumer(Consumer):
    """Claims from the broker as it is asked, and never holds more than it has handed out."""

    def __init__(self, link: Link, queues: Sequence[str], prefetch: int, lease: timedelta, clock: Clock) -> None:
        """Open the window."""
        self._link = link
        self._clock = clock
        self._bell = Bell()
        self._window = link.broker.enter(queues, prefetch, lease, self._bell.ring)
        link.enter(self._window)

    def leave(self) -> None:
        """Give back what is unsettled."""
        self._link.leave(self._window, self._clock.now())

    async def receive(self, limit: int, wait: float) -> Sequence[Delivery]:
        """Return deliveries as soon as there are any."""
        deadline = self._clock.monotonic() + wait
        await asyncio.sleep(0)  # a consumer in a tight loop leaves room for others; nothing is claimed yet
        while True:
            self._link.check()
            self._bell.silence()
            claimed = self._link.broker.claim(self._window, limit, self._clock.now())
            left = deadline - self._clock.monotonic()
            if claimed or self._window.stopped or left <= 0:
                return claimed
            await self._bell.wait_at_most(min(left, self._until_next_moment()), self._clock)

    def _until_next_moment(self) -> float:
        moment = self._link.broker.next_moment(self._window)
        return float("inf") if moment is None else max(0.0, (moment - self._clock.now()).total_seconds())

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettleReceipt]:
        """Settle all, in one step."""
        self._link.check()
        return self._link.broker.settle(self._window, settlements, self._clock.now())

    async def extend(self, deliveries: Sequence[Delivery]) -> Sequence[bool]:
        """Renew the leases."""
        self._link.check()
        return self._link.broker.extend(self._window, [d.token for d in deliveries], self._clock.now())

    async def set_prefetch(self, prefetch: int) -> None:
        """Change how many may be held."""
        self._link.check()
        self._window.prefetch = prefetch
        self._bell.ring()

    async def check(self) -> bool:
        """Return whether the broker still serves this window."""
        return self._link.broker.consumes(self._window)

    async def stop(self) -> None:
        """Take nothing more; there is nothing to give back that was not handed out."""
        self._window.stopped = True
        self._bell.ring()
