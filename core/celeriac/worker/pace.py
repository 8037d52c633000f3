"""How much a worker takes ahead of what it can run. Pure: moments are passed in.

Held beyond free slots is about `AHEAD_SECONDS` of measured work, so that short tasks keep every slot busy and a long
one strands nobody behind it. A worker whose slots have all been busy for `STUCK_SECONDS` takes nothing.
"""

from __future__ import annotations

AHEAD_SECONDS = 0.05
STUCK_SECONDS = 1.0
MOST_AHEAD = 250
SMOOTHING = 0.1
SHORTEST = 0.0001
UNIFORM = 8


class Pace:
    """The measured pace of one worker's pool."""

    def __init__(self, sync_slots: int, async_slots: int) -> None:
        """Begin with nothing measured: then nothing is taken ahead but one message a slot.

        Args:
            sync_slots: ``def`` tasks that run at a time.
            async_slots: ``async def`` tasks that run at a time.
        """
        self.sync_slots = sync_slots
        self.async_slots = async_slots
        self.sync_held = 0
        self.async_held = 0
        self._seconds: float | None = None
        self._async_in_a_row = 0
        self._full_since: float | None = None

    def took(self, now: float, *, is_async: bool) -> None:
        """Count a job that was given to the pool."""
        if is_async:
            self.async_held += 1
            self._async_in_a_row += 1
            return
        self._async_in_a_row = 0
        self.sync_held += 1
        if self.sync_held >= self.sync_slots and self._full_since is None:
            self._full_since = now

    def gave(self, now: float, *, is_async: bool, seconds: float | None = None) -> None:
        """Count a job that left the pool, with the seconds it took if it was run."""
        if is_async:
            self.async_held -= 1
            return
        self.sync_held -= 1
        self._full_since = now if self.sync_held >= self.sync_slots else None
        if seconds is not None:
            before = seconds if self._seconds is None else self._seconds
            self._seconds = before + SMOOTHING * (seconds - before)

    def gave_back(self, *, is_async: bool) -> None:
        """Count a job that left the pool unbegun: no slot came free, and one that was stuck still is."""
        if is_async:
            self.async_held -= 1
            return
        self.sync_held -= 1
        if self.sync_held < self.sync_slots:
            self._full_since = None

    @property
    def target(self) -> int:
        """How many deliveries to hold, unsettled, at most."""
        if self._async_in_a_row >= UNIFORM:
            return self.async_slots + self.sync_slots
        return self.sync_slots + self._ahead + self.async_held

    @property
    def has_free_slot(self) -> bool:
        """A ``def`` task would begin at once."""
        return self.sync_held < self.sync_slots

    def is_stuck(self, now: float) -> bool:
        """Return whether every ``def`` slot has been busy for long, with none coming free."""
        return (
            self._full_since is not None and now - self._full_since >= STUCK_SECONDS and self._async_in_a_row < UNIFORM
        )

    @property
    def _ahead(self) -> int:
        if self._seconds is None:
            return self.sync_slots
        return min(MOST_AHEAD, int(AHEAD_SECONDS / max(self._seconds, SHORTEST)) * self.sync_slots)
