"""The one place where time comes from.

Nothing in the core or the memory transport reads the time or sleeps but through a `Clock`, so that tests can hold
the hands (`celeriac.testing.VirtualClock`).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from some fixed point; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        ...


class SystemClock:
    """The machine's own time."""

    __slots__ = ()

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds from some fixed point; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``."""
        import asyncio  # noqa: PLC0415 - who only declares tasks has no loop

        await asyncio.sleep(seconds)
