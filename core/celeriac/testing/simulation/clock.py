"""The virtual time of a simulation, as the rest of celeriac wants it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celeriac.testing.simulation.loop import SimulatedLoop

START = datetime(2030, 1, 1, tzinfo=UTC)


class LoopClock:
    """A `celeriac.clock.Clock` that shows a loop's own time."""

    def __init__(self, loop: SimulatedLoop) -> None:
        """Show the time of ``loop``."""
        self._loop = loop

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return START + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        """Return the seconds since the beginning."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``; at once, after one turn, for 0 or less."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = self._loop.create_future()
        timer = self._loop.call_later(seconds, _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
