"""One queue of the memory broker: what is ready, what waits for its moment, what is held. Pure: no clock, no lock."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING

from celeriac.transport import Depth

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Sequence

    from celeriac.message import Message
    from celeriac.topology import Queue

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Entry:
    """A stored message.

    Attributes:
        message: what was published.
        seq: its place among those of its priority; kept when it comes back, so that it comes back to the head.
        since: when it became ready.
        deliveries: hand-overs that count.
        redelivered: it was handed over before.
    """

    message: Message
    seq: int
    since: datetime
    deliveries: int = 0
    redelivered: bool = False


@dataclass(slots=True, eq=False)
class Window:
    """What one consumer sees of its queues.

    Attributes:
        id: unique in the process, so that a token of another window is never mistaken for one of ours.
        queues: names, the next to be served first.
        prefetch: how many may be held.
        lease: for how long, unless extended.
        ring: called when there may be something new; must not block.
        held: what is ours, by serial number of the hand-over.
        unsettled: serials handed over and not settled yet; also those whose lease was lost.
        stopped: takes nothing more.
    """

    id: int
    queues: deque[str]
    prefetch: int
    lease: timedelta
    ring: Callable[[], None]
    held: dict[int, Held] = field(default_factory=dict)
    unsettled: set[int] = field(default_factory=set)
    stopped: bool = False


@dataclass(slots=True, eq=False)
class Held:
    """An entry in a consumer's hands until its lease ends."""

    entry: Entry
    queue: MemoryQueue
    window: Window
    until: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that is in the broker, for tests that want to know where.

    Attributes:
        queue: where it is.
        message: what was published.
        state: ``ready``, ``paused``, ``delayed`` or ``running``.
        due: when it becomes ready, if it is delayed.
    """

    queue: str
    message: Message
    state: str
    due: datetime | None = None


class MemoryQueue:
    """A queue's contents. Every method that looks at them wants `tick` called first."""

    def __init__(self, declared: Queue) -> None:
        """Start empty."""
        self.declared = declared
        self.paused = False
        self._seq = itertools.count()
        self._ready: list[tuple[int, int, Entry]] = []
        self._delayed: list[tuple[datetime, int, Entry]] = []
        self._held: dict[int, Held] = {}
        self._first_lease = NEVER  # no lease ends before it

    def tick(self, now: datetime) -> None:
        """Make ready what has fallen due, in the order of the moments, and what was held beyond its lease."""
        while self._delayed and self._delayed[0][0] <= now:
            due, _, entry = heapq.heappop(self._delayed)
            entry.seq = next(self._seq)
            self._make_ready(entry, due)
        if self._first_lease <= now:
            for serial in [serial for serial, held in self._held.items() if held.until <= now]:
                self.give_back(serial, now, counted=True)
            self._first_lease = min((held.until for held in self._held.values()), default=NEVER)

    def put(self, message: Message, now: datetime) -> None:
        """Store a new message, ready or waiting for its moment."""
        self._place(Entry(message, next(self._seq), now), message.not_before, now)

    def take(self, serial: int, window: Window, now: datetime) -> Held | None:
        """Hand the next ready entry to ``window``, if there is one and the queue is not paused."""
        if self.paused or not self._ready:
            return None
        entry = heapq.heappop(self._ready)[2]
        entry.deliveries += 1
        held = Held(entry, self, window, now + window.lease)
        self._held[serial] = window.held[serial] = held
        self._first_lease = min(self._first_lease, held.until)
        return held

    def forget(self, serial: int) -> None:
        """Drop what is held as ``serial``."""
        del self._held.pop(serial).window.held[serial]

    def give_back(self, serial: int, now: datetime, *, counted: bool, delay: timedelta = timedelta(0)) -> None:
        """Make ready again what is held as ``serial``; ``counted`` where nobody returned it gracefully."""
        held = self._held.pop(serial)
        del held.window.held[serial]
        held.entry.redelivered = True
        held.entry.deliveries -= not counted
        self._place(held.entry, now + delay if delay else None, now)

    def drop(self) -> None:
        """Forget everything; whoever holds something loses it."""
        for serial in list(self._held):
            self.forget(serial)

    def purge(self) -> int:
        """Drop what is ready and what is delayed; return how many."""
        count = len(self._ready) + len(self._delayed)
        self._ready.clear()
        self._delayed.clear()
        return count

    def peek(self, limit: int) -> Sequence[Message]:
        """Return the next ``limit`` ready messages."""
        return [entry.message for _, _, entry in heapq.nsmallest(limit, self._ready)]

    def contents(self) -> list[Stored]:
        """Return all that is in it: what is held, then what is ready, next first, then what is delayed, next first."""
        name, state = self.declared.name, "paused" if self.paused else "ready"
        held = [Stored(name, one.entry.message, "running") for one in self._held.values()]
        ready = [Stored(name, entry.message, state) for _, _, entry in sorted(self._ready, key=itemgetter(0, 1))]
        delayed = sorted(self._delayed, key=itemgetter(0, 1))
        return held + ready + [Stored(name, entry.message, "delayed", due) for due, _, entry in delayed]

    def depth(self, now: datetime) -> Depth:
        """Count."""
        oldest = min((entry.since for _, _, entry in self._ready), default=None)
        return Depth(
            ready=len(self._ready),
            running=len(self._held),
            delayed=len(self._delayed),
            oldest_age=None if oldest is None else (now - oldest).total_seconds(),
            paused=self.paused,
        )

    def next_moment(self) -> datetime:
        """Return when `tick` may next find something to do."""
        return min(self._delayed[0][0] if self._delayed else NEVER, self._first_lease)

    def _place(self, entry: Entry, due: datetime | None, now: datetime) -> None:
        if due is not None and due > now:
            heapq.heappush(self._delayed, (due, next(self._seq), entry))
        else:
            self._make_ready(entry, now)

    def _make_ready(self, entry: Entry, since: datetime) -> None:
        entry.since = since
        heapq.heappush(self._ready, (-entry.message.priority, entry.seq, entry))
