"""The broker itself: a synchronous state machine behind one lock.

It serves consumers of several event loops and threads at once, so every public method takes the lock, none waits, and
what it calls back (a window's ``ring``, a listener) only schedules. The time comes in as an argument.

    publish ──► ready ──claim──► held ──Ack, Move, Dead──► gone
                  ▲  ▲            │ │
                  │  └─Requeue────┘ │   also: the block is left, the lease ends, the connection is lost
       due ───► delayed ◄──Requeue──┘
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from celeriac.errors import QueueNotFound, TopologyMismatch, Unroutable, Unsupported
from celeriac.message import CONFIRMED, Dead, Delivery, Move, Outcome, Receipt, Requeue, SettleReceipt
from celeriac.topology import DEFAULT_EXCHANGE, Topology, dead_queue
from celeriac.transport_helpers import RoutingTable, dead_letter, first_missing, refuse_mismatch, refuse_unsupported
from celeriac_memory.address import LONGEST_DELAY, capabilities
from celeriac_memory.guarded import Guarded, locked, locked_or_late
from celeriac_memory.headers import own_copy
from celeriac_memory.queue import MemoryQueue, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime, timedelta

    from celeriac.message import Message, Settlement
    from celeriac.transport import Depth
    from celeriac_memory.queue import Held, Stored

_window_ids = itertools.count(1)


class Token(NamedTuple):
    """Names a hand-over: the window it was made to, and its number within the broker."""

    window: int
    serial: int


class Broker(Guarded):
    """Queues, exchanges, consumers, listeners and revocations of one name."""

    def __init__(self) -> None:
        """Start with nothing declared."""
        super().__init__()
        self._table = RoutingTable()
        self._queues: dict[str, MemoryQueue] = {}
        self._windows: dict[int, Window] = {}
        self._serials = itertools.count(1)
        self._listeners: dict[str, list[Callable[[bytes], None]]] = {}
        self._revoked: dict[str, datetime] = {}
        self._followers: list[Callable[[str], None]] = []

    # what exists

    @locked
    def declare(self, topology: Topology) -> None:
        """Make or check what ``topology`` says; as `Transport.declare`."""
        if topology.mode == "never":
            return
        refuse_mismatch(topology, self._table)
        if topology.mode != "passive":
            self._add(topology)
        elif missing := first_missing(topology, self._table):
            raise TopologyMismatch(f"{missing} does not exist")

    @locked
    def delete(self, name: str) -> None:
        """Delete a queue and all in it."""
        self._table.remove_queue(name)
        queue = self._queues.pop(name, None)
        if queue is not None:
            queue.drop()

    # messages in

    @locked
    def publish(self, messages: Sequence[Message], now: datetime) -> list[Receipt]:
        """Store messages; all of them are judged before the first is written."""
        return self._store([(message, self._targets(message, now)) for message in messages], now)

    def _targets(self, message: Message, now: datetime) -> list[MemoryQueue]:
        queues = [self._queues[name] for name in self._table.route(message.exchange, message.routing_key)]
        for queue in queues:
            queue.tick(now)
            refuse_unsupported(message, queue.declared, capabilities(queue.declared), now)
        return queues

    def _store(self, routed: Iterable[tuple[Message, list[MemoryQueue]]], now: datetime) -> list[Receipt]:
        # every header is copied, and may be refused, before anything is stored
        copies = [(own_copy(message), queues) for message, queues in routed]
        receipts = []
        for message, queues in copies:
            for queue in queues:
                queue.put(message, now)
            receipts.append(self._receipt(message, queues))
        self._ring({queue.declared.name for _, queues in copies for queue in queues})
        return receipts

    def _receipt(self, message: Message, queues: Sequence[MemoryQueue]) -> Receipt:
        if message.exchange != DEFAULT_EXCHANGE and message.exchange not in self._table.exchanges:
            return Receipt(Outcome.RETURNED, f"no exchange {message.exchange!r}")
        if message.mandatory and not queues:
            return Receipt(Outcome.RETURNED, f"no queue takes {message.routing_key!r} of {message.exchange!r}")
        return CONFIRMED

    # messages out

    @locked
    def enter(self, queues: Sequence[str], prefetch: int, lease: timedelta, ring: Callable[[], None]) -> Window:
        """Open a consumer's window.

        Raises:
            QueueNotFound: one of ``queues`` does not exist.
        """
        for name in queues:
            self._existing(name)
        window = Window(next(_window_ids), deque(queues), prefetch, lease, ring)
        self._windows[window.id] = window
        return window

    @locked
    def claim(self, window: Window, limit: int, now: datetime) -> list[Delivery]:
        """Hand up to ``limit`` messages to ``window``, one queue after the other."""
        limit = min(limit, window.prefetch - len(window.held))
        claimed: list[Delivery] = []
        dry = 0
        for name in window.queues:
            if name in self._queues:
                self._queues[name].tick(now)
        while not window.stopped and len(claimed) < limit and dry < len(window.queues):
            name = window.queues[0]
            window.queues.rotate(-1)
            serial = next(self._serials)
            held = self._queues[name].take(serial, window, now) if name in self._queues else None
            dry = 0 if held else dry + 1
            if held:
                window.unsettled.add(serial)
                claimed.append(_delivery(Token(window.id, serial), held))
        return claimed

    @locked
    def next_moment(self, window: Window) -> datetime | None:
        """Return when a claim by ``window`` may first succeed without anyone doing anything."""
        moments = [
            self._queues[name].next_moment()
            for name in window.queues
            if name in self._queues and not self._queues[name].paused
        ]
        return min(moments, default=None)

    @locked
    def settle(self, window: Window, settlements: Sequence[Settlement], now: datetime) -> list[SettleReceipt]:
        """Settle all or nothing; as `Consumer.settle`."""
        serials = _serials(window, settlements)
        self._tick(window, now)
        held = [window.held.get(serial) for serial in serials]
        pairs = [(one, settlement) for one, settlement in zip(held, settlements, strict=True) if one is not None]
        successors = [routed for one, settlement in pairs for routed in self._successors(one, settlement, now)]
        self._store(successors, now)
        for serial, one, settlement in zip(serials, held, settlements, strict=True):
            window.unsettled.discard(serial)
            if one is not None:
                self._let_go(serial, one, settlement, now)
        window.ring()
        return [SettleReceipt.LOST if one is None else SettleReceipt.DONE for one in held]

    def _successors(self, held: Held, settlement: Settlement, now: datetime) -> list[tuple[Message, list[MemoryQueue]]]:
        action = settlement.action
        messages: Sequence[Message] = ()
        if isinstance(action, Move):
            messages = action.messages
        elif isinstance(action, Dead):
            delivery = _delivery(settlement.token, held)
            messages = [dead_letter(delivery, action.letter, now)]
            if messages[0].routing_key not in self._queues:
                self._add(Topology.of([dead_queue(held.queue.declared)]))
        elif isinstance(action, Requeue) and action.delay > LONGEST_DELAY:
            raise Unsupported(f"queue {held.queue.declared.name!r} delays by {LONGEST_DELAY} at most")
        routed = [(message, self._targets(message, now)) for message in messages]
        for message, queues in routed:
            receipt = self._receipt(message, queues)
            if not receipt.ok:
                raise Unroutable(f"message {message.id!r} was not moved: {receipt}")
        return routed

    def _let_go(self, serial: int, held: Held, settlement: Settlement, now: datetime) -> None:
        if isinstance(settlement.action, Requeue):
            held.queue.give_back(serial, now, counted=False, delay=settlement.action.delay)
            self._ring({held.queue.declared.name})
        else:
            held.queue.forget(serial)

    @locked
    def extend(self, window: Window, tokens: Sequence[object], now: datetime) -> list[bool]:
        """Renew leases for a whole lease from now; ``False`` where it is lost."""
        self._tick(window, now)
        held = [window.held.get(_serial(window, token)) for token in tokens]
        for one in held:
            if one is not None:
                one.until = now + window.lease
        return [one is not None for one in held]

    @locked_or_late
    def leave(self, window: Window, now: datetime, *, lost: bool) -> None:
        """Close a window and give back what it holds; it counts as delivered where the connection was ``lost``."""
        if self._windows.pop(window.id, None) is None:
            return
        window.stopped = True
        self._tick(window, now)
        names = {held.queue.declared.name for held in window.held.values()}
        for serial, held in list(window.held.items()):
            held.queue.give_back(serial, now, counted=lost)
        self._ring(names)

    @locked
    def consumes(self, window: Window) -> bool:
        """Return whether ``window`` is open, takes more, and all its queues exist."""
        return window.id in self._windows and not window.stopped and all(q in self._queues for q in window.queues)

    # looking and tending

    @locked
    def depth(self, name: str, now: datetime) -> Depth:
        """Count the messages of a queue."""
        return self._existing(name, now).depth(now)

    @locked
    def peek(self, name: str, limit: int, now: datetime) -> list[Message]:
        """Return copies of the next ready messages."""
        return [own_copy(message) for message in self._existing(name, now).peek(limit)]

    @locked
    def contents(self, now: datetime) -> list[Stored]:
        """Return all that is in any queue, as of one moment."""
        for queue in self._queues.values():
            queue.tick(now)
        return [stored for queue in self._queues.values() for stored in queue.contents()]

    @locked
    def purge(self, name: str, now: datetime) -> int:
        """Drop what nobody holds; return how many."""
        return self._existing(name, now).purge()

    @locked
    def set_paused(self, name: str, now: datetime, *, paused: bool) -> None:
        """Hold back deliveries of a queue, or go on."""
        self._existing(name, now).paused = paused
        self._ring({name})

    # signals and revocations

    @locked
    def signal(self, topic: str, body: bytes) -> None:
        """Tell every listener of ``topic``."""
        for listener in self._listeners.get(topic, ()):
            listener(body)

    @locked
    def listen(self, topic: str, listener: Callable[[bytes], None]) -> None:
        """Call ``listener`` with every signal from now on; it must only schedule."""
        self._listeners.setdefault(topic, []).append(listener)

    @locked_or_late
    def unlisten(self, topic: str, listener: Callable[[bytes], None]) -> None:
        """Stop calling."""
        self._listeners[topic].remove(listener)
        if not self._listeners[topic]:
            del self._listeners[topic]

    @locked
    def revoke(self, ids: Sequence[str], until: datetime, now: datetime) -> None:
        """Remember ``ids`` and tell the followers; what has run out is dropped."""
        self._revoked = {known: end for known, end in self._revoked.items() if end > now}
        for revoked in ids:
            self._revoked[revoked] = max(until, self._revoked.get(revoked, until))
            for follower in self._followers:
                follower(revoked)

    @locked
    def follow(self, follower: Callable[[str], None], now: datetime) -> frozenset[str]:
        """Return the ids revoked now, and call ``follower`` with each later one."""
        self._followers.append(follower)
        return frozenset(known for known, end in self._revoked.items() if end > now)

    @locked_or_late
    def unfollow(self, follower: Callable[[str], None]) -> None:
        """Stop calling."""
        self._followers.remove(follower)

    # within the lock

    def _add(self, topology: Topology) -> None:
        for queue in topology.queues:
            self._queues.setdefault(queue.name, MemoryQueue(queue))
        self._table.add(topology)
        self._ring({queue.name for queue in topology.queues})

    def _existing(self, name: str, now: datetime | None = None) -> MemoryQueue:
        queue = self._queues.get(name)
        if queue is None:
            raise QueueNotFound(f"no queue {name!r}")
        if now is not None:
            queue.tick(now)
        return queue

    def _tick(self, window: Window, now: datetime) -> None:
        for queue in {held.queue for held in window.held.values()}:
            queue.tick(now)

    def _ring(self, names: set[str]) -> None:
        for window in self._windows.values():
            if not names.isdisjoint(window.queues):
                window.ring()


def _delivery(token: object, held: Held) -> Delivery:
    return Delivery(
        message=own_copy(held.entry.message),
        queue=held.queue.declared.name,
        token=token,
        delivery_count=held.entry.deliveries,
        redelivered=held.entry.redelivered,
        lease_until=held.until,
    )


def _serials(window: Window, settlements: Sequence[Settlement]) -> list[int]:
    serials = [_serial(window, settlement.token) for settlement in settlements]
    ours = [serial for serial in serials if serial]
    if len(set(ours)) < len(ours) or not window.unsettled.issuperset(ours):
        raise ValueError("a delivery is settled once: a token of this call was settled before")
    return serials


def _serial(window: Window, token: object) -> int:
    """Return the serial of ``token``; 0, which is held by nobody, if it is of another window."""
    return token.serial if isinstance(token, Token) and token.window == window.id else 0
