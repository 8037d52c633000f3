"""The transport port: what a broker plugin is. Contract version 1.

An author writes two classes: a `Transport` (one broker at one URL, or one cluster at several) and its `Consumer`.
Both know messages and queues, and nothing of tasks or results. What each method promises stands, clause by clause,
in ``docs/transport-contract.md``; ``celeriac.testing.TransportContract`` checks every clause against a live broker.

Every method raises `celeriac.errors.TransportError` or a subclass, the driver's error kept as ``__cause__``. All
methods are called on one event loop; a transport needs no locks for them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from celeriac.clock import Clock
    from celeriac.errors import TransportError
    from celeriac.message import Delivery, Message, Receipt, Settlement, SettleReceipt
    from celeriac.topology import Queue, Topology

CONTRACT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Facts about one queue of a broker, never wishes; the core and the conformance kit ask these, never a name.

    The defaults declare nothing. A capability that is declared must hold; one that is not must be refused with
    `Unsupported`, before anything is written.

    Attributes:
        priority_levels: how many priorities the queue keeps strictly apart; 1 is none.
        max_delay: the longest ``not_before`` or requeue delay; ``None`` means no delays at all.
        delay_resolution: a delayed message is ready at most this much late (and never early), while the broker is not
            overloaded.
        lease: how long a delivery stays ours without `Consumer.extend`; ``None`` where the connection holds it.
        renew_every: how often `Consumer.extend` wants to be called for what is held; ``None`` is never.
        exact_delivery_count: ``Delivery.delivery_count`` is exact, and a graceful return is not counted.
        fenced_settle: a settlement by a lost owner answers ``LOST`` and changes nothing.
        atomic_move: ``Move`` and ``Dead`` are one transaction.
        shared_prefetch: prefetch is a total over all queues; otherwise at least one a queue.
        cross_process: other processes with the same URL reach the same queues.
        revocations: `Transport.revoke` and `Transport.revoked` work, and outlive every worker.
        peek: `Transport.peek` works.
        pause: `Transport.pause` and `Transport.resume` work, and outlive every worker.
    """

    priority_levels: int = 1
    max_delay: timedelta | None = None
    delay_resolution: timedelta = timedelta(seconds=1)
    lease: timedelta | None = None
    renew_every: timedelta | None = None
    exact_delivery_count: bool = False
    fenced_settle: bool = False
    atomic_move: bool = False
    shared_prefetch: bool = False
    cross_process: bool = False
    revocations: bool = False
    peek: bool = False
    pause: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How full a queue is; ``None`` where the broker cannot say.

    Attributes:
        ready: messages that a consumer could take now.
        running: delivered and not settled.
        delayed: waiting for their moment.
        oldest_age: seconds since the oldest ready message was published or fell due.
        paused: deliveries are held back.
    """

    ready: int
    running: int | None = None
    delayed: int | None = None
    oldest_age: float | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Revocations:
    """The revoked ids: those known when the block was entered, then each new one as it comes."""

    known: frozenset[str]
    new: AsyncIterator[str]


class Transport(ABC):
    """One broker.

    Attributes:
        contract: the contract version the plugin was written for; another than the core's is refused at load.
        scoped: a URL with neither host nor path belongs to one App: the core writes a name of the App's own into it.
    """

    contract: ClassVar[int] = CONTRACT_VERSION
    scoped: ClassVar[bool] = False

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: Clock,
        on_lost: Callable[[TransportError], None],
    ) -> None:
        """Keep the addresses of one cluster, to be tried in order. Opens nothing.

        Args:
            urls: at least one; what the URL's query may hold is the plugin's to say.
            clock: where the time comes from.
            on_lost: called once on the loop, after a successful `open`, when the connection is gone. The core then
                calls `open` again; consumers of before are dead.

        Raises:
            ConfigurationError: a URL or an option of it cannot work.
        """
        self.urls = tuple(urls)
        self.clock = clock
        self.on_lost = on_lost

    @abstractmethod
    def capabilities(self, queue: Queue) -> Capabilities:
        """Return what holds for ``queue``: offline, what URL and declaration guarantee; it may only grow after open."""

    @abstractmethod
    async def open(self) -> None:
        """Connect. Idempotent; may be called again after a loss.

        Raises:
            ConnectionLost: no address answered.
            AccessRefused: one answered, and refused the credentials or the virtual host.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release everything; unsettled deliveries become ready again. Idempotent, and never raises."""

    @abstractmethod
    async def declare(self, topology: Topology) -> None:
        """Make ``topology`` exist, or check it, as its mode says. Idempotent; never alters what exists.

        Raises:
            TopologyMismatch: names the queue or exchange, and what differs.
        """

    @abstractmethod
    async def publish(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        """Hand over messages; return one receipt each, in order, once the broker has answered for all.

        Raises:
            TransportError: only when nothing at all was written.
            Unsupported: a priority or delay that the target queue does not have.
            MessageTooLarge: one of them exceeds what the broker takes.
        """

    @abstractmethod
    def consume(self, queues: Sequence[str], *, prefetch: int) -> AbstractAsyncContextManager[Consumer]:
        """Open a window on ``queues``: at most ``prefetch`` unsettled deliveries in all.

        Leaving the block gives back what is unsettled.
        """

    @abstractmethod
    async def signal(self, topic: str, body: bytes) -> None:
        """Tell every current listener of ``topic``: best effort, no queue, no ack."""

    @abstractmethod
    def listen(self, topic: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Hear what is signalled from now on; subscribed once the block is entered."""

    @abstractmethod
    async def depth(self, queue: str) -> Depth:
        """Say how full ``queue`` is.

        Raises:
            QueueNotFound: it does not exist.
        """

    @abstractmethod
    async def purge(self, queue: str) -> int:
        """Drop what is ready, and what is delayed where the broker can; return how many."""

    @abstractmethod
    async def delete(self, queue: str) -> None:
        """Delete ``queue`` and all in it. Idempotent."""

    @abstractmethod
    async def peek(self, queue: str, limit: int) -> Sequence[Message]:
        """Return up to ``limit`` ready messages, the next one first, leaving them where they are."""

    @abstractmethod
    async def pause(self, queue: str) -> None:
        """Deliver nothing of ``queue`` to anyone until `resume`; it still takes messages."""

    @abstractmethod
    async def resume(self, queue: str) -> None:
        """Deliver again."""

    @abstractmethod
    async def revoke(self, ids: Sequence[str], until: datetime) -> None:
        """Remember durably, until ``until`` at least, that the messages named ``ids`` are not to be run."""

    @abstractmethod
    def revoked(self) -> AbstractAsyncContextManager[Revocations]:
        """Follow the revocations: all that hold now, then each new one."""


class Consumer(ABC):
    """An open window on queues. What it delivered is settled on it, once."""

    @abstractmethod
    async def receive(self, limit: int, wait: float) -> Sequence[Delivery]:
        """Return 1 to ``limit`` deliveries as soon as there are any; none after ``wait`` seconds, or once stopped.

        Cancelling it loses nothing.

        Raises:
            ConnectionLost: this consumer is dead; enter a new block.
        """

    @abstractmethod
    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettleReceipt]:
        """Settle deliveries of this consumer; return one receipt each, in order.

        A token of another generation answers ``LOST`` without I/O.

        Raises:
            ValueError: a token was settled before; nothing of the call was written.
            PublishError: a ``Move`` or ``Dead`` could not be published; what remains unsettled is still held.
            ConnectionLost: what was written is unknown; unsettled deliveries come back to someone.
        """

    @abstractmethod
    async def extend(self, deliveries: Sequence[Delivery]) -> Sequence[bool]:
        """Renew the leases; ``False`` for one that was lost. ``True`` throughout where there is no lease."""

    @abstractmethod
    async def set_prefetch(self, prefetch: int) -> None:
        """Change how many unsettled deliveries are held at most; 0 takes nothing more.

        What is handed out stays; what was fetched beyond the new number and not handed out goes back.
        """

    @abstractmethod
    async def check(self) -> bool:
        """Ask the broker whether it agrees that we consume."""

    @abstractmethod
    async def stop(self) -> None:
        """Deliver no more, give back what was not handed out. `settle` and `extend` still work. Idempotent."""
