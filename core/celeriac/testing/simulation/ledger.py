"""The broker's truth: every copy of every message that was stored, who had it, and how it ended.

Each stored copy carries a number in a header of its own, so that it is told apart from copies of the same task.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac import states
from celeriac.message import Ack, Dead, Move, Requeue
from celeriac.protocol import OwnTable
from celeriac.topology import DEAD_SUFFIX, DEFAULT_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from celeriac.message import Action, Delivery, Message
    from celeriac.results import ResultRecord
    from celeriac.testing.simulation.clock import LoopClock
    from celeriac.testing.simulation.story import Story

STAMP = "simulated-copy"
LONGEST_HISTORY = 10


@dataclass(slots=True, eq=False)
class Copy:
    """One stored message.

    Attributes:
        number: names it.
        message: what was stored.
        queue: where; empty until that is known.
        parent: the copy that it replaces.
        due: not to be delivered before.
        holder: the token of its last hand-over, unless that ended gracefully.
        handed: how often it was handed over.
        handed_at: when that was last, in seconds of the simulation.
        losses: hand-overs that ended in silence: a process killed, a connection cut, a lease run out.
        returns: hand-overs that ended gracefully, the delivery given back.
        fatal: the hand-overs in which an executor died with it.
        deaths: of these, those that a worker could have the broker settle.
        excused: it may be acked though the store has no final result.
        end: how it was settled; ``None`` while it is not.
    """

    number: int
    message: Message
    parent: Copy | None = None
    queue: str = ""
    due: datetime | None = None
    holder: object = None
    handed: int = 0
    handed_at: float = 0.0
    losses: int = 0
    returns: int = 0
    fatal: set[object] = field(default_factory=set)
    deaths: int = 0
    excused: bool = False
    end: str | None = None

    @property
    def line(self) -> Iterator[Copy]:
        """This copy, and all that it replaces."""
        copy: Copy | None = self
        while copy is not None:
            yield copy
            copy = copy.parent


class Ledger:
    """All copies; it is told by the simulated transport and store, in the very step in which something happens.

    Attributes:
        copies: by number.
        records: what the store has of each task.
        letters: dead letters, as copy and reason.
        exact: the broker tells a loss from a graceful return.
    """

    def __init__(self, story: Story, clock: LoopClock, *, max_deliveries: int, max_lost: int, exact: bool) -> None:
        """Begin with nothing stored."""
        self.copies: dict[int, Copy] = {}
        self.records: dict[str, ResultRecord] = {}
        self.letters: list[tuple[Copy, str]] = []
        self._story = story
        self._clock = clock
        self._max_deliveries = max_deliveries
        self._max_lost = max_lost
        self.exact = exact
        self._fresh: dict[str, dict[int, Copy]] = {}  # ready, and never handed over, by queue and number

    # messages in

    def stamped(self, message: Message, parent: Copy | None = None) -> Message:
        """Return ``message`` with a number of its own; it is not stored yet."""
        number = len(self.copies) + 1
        message = replace(message, headers={**message.headers, STAMP: number})
        self.copies[number] = Copy(number, message, parent)
        return message

    def stored(self, messages: Sequence[Message]) -> None:
        """Take note that these, stamped before, are in their queues."""
        for message in messages:
            copy = self.copies[message.headers[STAMP]]
            # every queue of a simulation is bound to an exchange of its own name by its own name
            copy.queue, copy.due = message.routing_key, message.not_before
            if copy.queue.endswith(DEAD_SUFFIX) and message.exchange == DEFAULT_EXCHANGE:
                copy.end = "set aside"
            else:
                self._fresh.setdefault(copy.queue, {})[copy.number] = copy
            self._story.tell(f"stored as copy {copy.number} in {copy.queue!r}{_after(copy)}", message.id)
            self._check_counters(message)

    # messages out

    def delivered(self, delivery: Delivery) -> None:
        """Take note of a hand-over."""
        copy, task_id = self.copy_of(delivery), delivery.message.id
        now = self._clock.now()
        if copy.end is not None:
            self._story.broken(
                "settled once", f"copy {copy.number} is delivered again after it was {copy.end}", task_id
            )
        if copy.due is not None and copy.due > now:
            self._story.broken("delays", f"copy {copy.number} is delivered before {copy.due}", task_id)
        if copy.holder is not None:
            copy.losses += 1
        elif copy.handed:
            copy.returns += 1
        copy.handed += 1
        copy.handed_at = self._clock.monotonic()
        self._check_priority(copy)
        if self.exact and delivery.delivery_count != 1 + copy.losses:
            text = f"delivery_count is {delivery.delivery_count} after {copy.losses} losses of copy {copy.number}"
            self._story.broken("exact counts", text, task_id)
        copy.holder, copy.due = delivery.token, None
        self._story.tell(f"copy {copy.number} delivered, hand-over {copy.handed}", task_id)

    def returned(self, delivery: Delivery) -> None:
        """Take note that a delivery goes back because its consumer left in peace."""
        copy = self.copy_of(delivery)
        if copy.holder == delivery.token and copy.end is None:
            copy.holder = None
            self._story.tell(f"copy {copy.number} returned by a consumer that leaves", delivery.message.id)

    # settlements

    def settled(self, delivery: Delivery, action: Action) -> None:
        """Take note that the broker has settled a delivery, and answered DONE."""
        copy, task_id = self.copy_of(delivery), delivery.message.id
        self._story.tell(f"copy {copy.number} settled: {_named(action)}", task_id)
        if copy.end is not None:
            self._story.broken("settled once", f"copy {copy.number} is settled after it was {copy.end}", task_id)
        if copy.holder != delivery.token:
            self._story.broken("settled once", f"copy {copy.number} is settled by one who has lost it", task_id)
        if isinstance(action, Requeue):
            copy.holder = None
            copy.due = self._clock.now() + action.delay if action.delay else None
            return
        copy.end = _named(action)
        copy.deaths += delivery.token in copy.fatal
        if isinstance(action, Ack):
            self._check_ack(copy, task_id)
        if isinstance(action, Dead):
            self.letters.append((copy, action.letter.reason))
            self._check_letter(copy, action.letter.reason)

    def kept(self, record: ResultRecord) -> None:
        """Take note of what the store has of a task now."""
        before = self.records.get(record.task_id)
        if before is not None and (before.state in states.FINAL or before.attempt > record.attempt):
            text = f"{before.state} of attempt {before.attempt} overwritten by {record.state} of {record.attempt}"
            self._story.broken("results stay", text, record.task_id)
        self.records[record.task_id] = record
        self._story.tell(f"result stored: {record.state} of attempt {record.attempt}", record.task_id)

    def copy_of(self, delivery: Delivery) -> Copy:
        """Return the copy that was delivered."""
        return self.copies[delivery.message.headers[STAMP]]

    def _check_counters(self, message: Message) -> None:
        own = OwnTable.from_headers(message.headers)
        if own.crashes > self._max_deliveries or own.accused > 1 or own.lost > self._max_lost:
            self._story.broken("counters", f"crashes {own.crashes}, accused {own.accused}, lost {own.lost}", message.id)
        if len(own.history) > LONGEST_HISTORY:
            self._story.broken("counters", f"a history of {len(own.history)} entries", message.id)

    def _check_priority(self, copy: Copy) -> None:
        """Of what lies there ready and untouched, none may be more urgent than what is handed over."""
        fresh, now = self._fresh[copy.queue], self._clock.now()
        fresh.pop(copy.number, None)
        for other in fresh.values():
            if other.message.priority > copy.message.priority and (other.due is None or other.due <= now):
                text = f"priority {copy.message.priority} is delivered before {other.message.id}"
                self._story.broken("priorities", text, copy.message.id)

    def _check_ack(self, copy: Copy, task_id: str) -> None:
        record = self.records.get(task_id)
        if not copy.excused and (record is None or record.state not in states.FINAL):
            found = "nothing" if record is None else record.state
            self._story.broken("stored before acked", f"copy {copy.number} is acked, the store has {found}", task_id)

    def _check_letter(self, copy: Copy, reason: str) -> None:
        """A conviction must be deserved, if not by this copy of the task, then by one that was judged before."""
        copies = [each for each in self.copies.values() if each.message.id == copy.message.id]
        deaths = sum(len(each.fatal) for each in copies)
        losses = sum(each.losses + (0 if self.exact else each.returns) for each in copies)
        if reason == "lost" and losses < self._max_lost:
            self._story.broken("no false conviction", f"set aside as lost after {losses} losses", copy.message.id)
        if reason == "crashed" and deaths < self._max_deliveries:
            self._story.broken("no false conviction", f"set aside as crashed after {deaths} deaths", copy.message.id)


def _named(action: Action) -> str:
    match action:
        case Requeue(delay=delay) if delay > timedelta(0):
            return f"given back for {delay.total_seconds()} s"
        case Requeue():
            return "given back"
        case Move(messages=messages):
            return f"moved to copies {[message.headers.get(STAMP) for message in messages]}"
        case Dead(letter=letter):
            return f"set aside as {letter.reason}"
        case _:
            return "acked"


def _after(copy: Copy) -> str:
    parts = [f" after copy {copy.parent.number}"] if copy.parent else []
    if copy.due is not None:
        parts.append(f" due {copy.due:%H:%M:%S.%f}"[:-3])
    return "".join(parts)
