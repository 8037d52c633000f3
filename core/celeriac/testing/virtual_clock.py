"""Time that passes when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

_START = datetime(2030, 1, 1, tzinfo=UTC)
_TURNS = 25  # how often the loop goes round for those who were woken, before time goes on


class VirtualClock:
    """A `celeriac.clock.Clock` that stands still until `advance`.

    Sleepers may sleep on several loops and threads; those of the loop that advances run, and may sleep again, before
    a later sleeper is woken.
    """

    def __init__(self, start: datetime = _START) -> None:
        """Show ``start``, which is aware."""
        self._start = start
        self._seconds = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the time of day, in the zone of ``start``."""
        return self._start + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        """Return the seconds that were advanced."""
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        """Return once ``seconds`` were advanced; at once, after one turn of the loop, for 0 or less."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        with self._lock:
            heapq.heappush(self._sleepers, (self._seconds + seconds, next(self._order), woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many sleep now."""
        with self._lock:
            return sum(not woken.done() for _, _, woken in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, waking each sleeper at its moment, in order.

        Raises:
            ValueError: ``seconds`` is negative: time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: advance({seconds})")
        end = self._seconds + seconds
        await _let_others_run()
        while (woken := self._next_until(end)) is not None:
            _wake(woken)
            await _let_others_run()
        self._seconds = end
        await _let_others_run()

    def _next_until(self, end: float) -> asyncio.Future[None] | None:
        with self._lock:
            while self._sleepers and self._sleepers[0][0] <= end:
                moment, _, woken = heapq.heappop(self._sleepers)
                if not woken.done():
                    self._seconds = max(self._seconds, moment)
                    return woken
        return None


def _wake(woken: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # the sleeper's loop is closed
        woken.get_loop().call_soon_threadsafe(lambda: None if woken.done() else woken.set_result(None))


async def _let_others_run() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
