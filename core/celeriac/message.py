"""What travels: messages, deliveries, and what may be said of them. All frozen data; nothing here does I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_DELAY = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, on its way in or out.

    Attributes:
        id: names the message for ever, through retries and redeliveries. For a task message, the task's id.
        exchange: where it is published; ``""`` is the default exchange, which routes to the queue named by the key.
        routing_key: what the exchange routes by.
        body: opaque bytes.
        content_type: MIME type of the body.
        content_encoding: character set or compression of the body.
        headers: names to ``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``, lists and mappings of these.
        priority: 0 to 9, higher is sooner; above 0 only on a queue that declares levels.
        not_before: not to be delivered before this moment; ``None`` is at once.
        correlation_id: what the message answers or belongs to.
        reply_to: the queue that an answer should go to.
        mandatory: a message that no queue takes is an error (``Returned``), not a silence.
    """

    id: str
    exchange: str = ""
    routing_key: str = ""
    body: bytes = b""
    content_type: str = "application/octet-stream"
    content_encoding: str = "binary"
    headers: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    not_before: datetime | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    mandatory: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One hand-over of one message to one consumer. Plain data: it can be logged, compared, built in a test.

    Attributes:
        message: what was published (``not_before`` may be gone).
        queue: the queue it came from.
        token: means something only to the consumer that delivered it; names the generation of its connection too.
        delivery_count: how often it was handed over without being given back gracefully, this time included; ``None``
            where the broker does not count exactly.
        redelivered: it was handed over before.
        returns: how often it came back, graceful returns included; ``None`` where the broker keeps no such count.
        lease_until: when it becomes ready for others unless extended; ``None`` where the connection holds it.
    """

    message: Message
    queue: str
    token: object
    delivery_count: int | None = None
    redelivered: bool = False
    returns: int | None = None
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Ack:
    """Done with: the broker forgets the message."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Given back, uncounted: ready again for anyone, at once or after ``delay``."""

    delay: timedelta = NO_DELAY


@dataclass(frozen=True, slots=True)
class Move:
    """Replaced by ``messages``: these are published and confirmed, then the delivery is acked.

    One transaction where the broker declares ``atomic_move``; elsewhere a crash between leaves a duplicate, never
    a loss.
    """

    messages: Sequence[Message]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """Why a message is set aside.

    Attributes:
        reason: one word that a program can match: ``undecodable``, ``unknown``, ``crashed``, ``lost``, ...
        detail: one sentence for a person.
        attempts: how often it was run.
        worker: the node name of the last worker that had it.
    """

    reason: str
    detail: str = ""
    attempts: int = 0
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Dead:
    """Set aside: the message goes, with its reason, to the queue named ``<queue>.dead``."""

    letter: DeadLetter


Action = Ack | Requeue | Move | Dead
ACK = Ack()
REQUEUE = Requeue()


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is to become of one delivery: its token and an action. Settled once, by the consumer that delivered."""

    token: object
    action: Action = ACK


class SettleReceipt(enum.Enum):
    """What the broker said to one settlement.

    ``LOST``: the delivery was no longer ours and nothing changed. ``SENT``: the broker does not answer settlements.
    """

    DONE = "done"
    LOST = "lost"
    SENT = "sent"


class Outcome(enum.Enum):
    """What became of one publish.

    ``RETURNED``: no queue took it. ``NACKED``: the broker refused it. ``UNCONFIRMED``: it may have been sent.
    ``NOT_SENT``: it was not.
    """

    CONFIRMED = "confirmed"
    RETURNED = "returned"
    NACKED = "nacked"
    UNCONFIRMED = "unconfirmed"
    NOT_SENT = "not sent"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one published message, and the broker's words for it."""

    outcome: Outcome
    detail: str = ""

    @property
    def ok(self) -> bool:
        """The broker owns the message, and routed it if it was mandatory."""
        return self.outcome is Outcome.CONFIRMED

    def __str__(self) -> str:
        """Return the outcome, with the detail if there is one."""
        return f"{self.outcome.value}: {self.detail}" if self.detail else self.outcome.value


CONFIRMED = Receipt(Outcome.CONFIRMED)
