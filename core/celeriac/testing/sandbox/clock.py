"""The machine's time, and as much more as a test has skipped."""

from __future__ import annotations

import asyncio
import math
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac.clock import SystemClock

if TYPE_CHECKING:
    from datetime import datetime

_SYSTEM = SystemClock()


class ShiftedClock:
    """A `celeriac.clock.Clock` that goes on by itself and can be put forward.

    Unlike `celeriac.testing.VirtualClock` it never stands still, so that nothing inside a worker waits for a test to go
    on: a pause before connecting again passes as it does in production. It serves every loop and thread.
    """

    def __init__(self) -> None:
        """Show the machine's time."""
        self._shift = 0.0
        self._lock = threading.RLock()  # a destructor of who sleeps may run wherever this thread is
        self._sleepers: set[asyncio.Future[None]] = set()

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return _SYSTEM.now() + timedelta(seconds=self._shift)

    def monotonic(self) -> float:
        """Return seconds from some fixed point; never goes back."""
        return _SYSTEM.monotonic() + self._shift

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``, or as soon as they were skipped."""
        until = self.monotonic() + seconds
        while (left := until - self.monotonic()) > 0:
            woken = asyncio.get_running_loop().create_future()
            with self._lock:
                self._sleepers.add(woken)
            try:
                await asyncio.wait([woken], timeout=None if math.isinf(left) else left)
            finally:
                with self._lock:
                    self._sleepers.discard(woken)
        await asyncio.sleep(0)

    def skip(self, seconds: float) -> None:
        """Put the clock forward, and wake who sleeps: each looks whether its time has come.

        Raises:
            ValueError: ``seconds`` is negative: time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds} s")
        with self._lock:
            self._shift += seconds
            for woken in tuple(self._sleepers):
                woken.get_loop().call_soon_threadsafe(_wake, woken)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
