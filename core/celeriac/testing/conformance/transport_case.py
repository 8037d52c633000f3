"""What every test of the transport contract uses."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import TransportError, Unsupported
from celeriac.message import ACK, REQUEUE, Message, Settlement, SettleReceipt
from celeriac.plugins import Plugins
from celeriac.testing.conformance.case import QUIET, Case, patience, unique
from celeriac.testing.conformance.child import Child
from celeriac.topology import Queue, Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from celeriac.message import Action, Delivery
    from celeriac.transport import Capabilities, Consumer, Transport

OVERLOAD = timedelta(seconds=1)  # what a busy machine adds to a delay
OPTIONAL_FIXTURES = ("cut", "lease_urls", "other_urls", "unreachable_urls", "refused_urls")


class TransportCase(Case):
    """Opens transports, declares queues of unique names, publishes and takes.

    Attributes:
        transport_class: the author's class; by default the one that is plugged in for the URL's scheme.
        urls: from the fixture ``transport_urls``.
        given: the author's optional fixtures, by name.
    """

    transport_class: ClassVar[type[Transport] | None] = None
    urls: Sequence[str]
    given: dict[str, Any]

    @pytest.fixture(autouse=True)
    def _given(self, request: pytest.FixtureRequest, transport_urls: Sequence[str]) -> None:
        self.prepare(transport_urls, **{name: self.offered(request, name) for name in OPTIONAL_FIXTURES})

    def prepare(self, urls: Sequence[str], **given: object) -> None:
        """Take what the fixtures give."""
        self.urls = list(urls)
        self.given = given
        self._first: Transport | None = None

    def gift(self, fixture: str) -> Any:
        """Return what an optional fixture gave; skip the test where the author has none."""
        if self.given.get(fixture) is None:
            pytest.skip(f"the author gives no fixture {fixture!r}")
        return self.given[fixture]

    def make_transport(self, urls: Sequence[str], on_lost: Callable[[TransportError], None]) -> Transport:
        """Construct a transport; override it where its class is not enough."""
        return self.tried_class(urls, clock=SystemClock(), on_lost=on_lost)

    @property
    def tried_class(self) -> type[Transport]:
        """The class that is tried."""
        return self.transport_class or Plugins().transport(self.urls[0])

    def make(
        self, urls: Sequence[str] | None = None, on_lost: Callable[[TransportError], None] | None = None
    ) -> Transport:
        """Construct a transport that is closed when the test ends."""
        transport = self.make_transport(urls or self.urls, on_lost or _ignore)
        self.stack.push_async_callback(transport.close)
        return transport

    async def open(
        self, urls: Sequence[str] | None = None, on_lost: Callable[[TransportError], None] | None = None
    ) -> Transport:
        """Return one more open transport."""
        transport = self.make(urls, on_lost)
        await transport.open()
        return transport

    async def first(self) -> Transport:
        """Return the open transport of the test."""
        if self._first is None:
            self._first = await self.open()
        return self._first

    async def capabilities(self, priorities: int = 1) -> Capabilities:
        """Return what a queue of this broker can do, once open."""
        return (await self.first()).capabilities(Queue("kit", priorities=priorities))

    async def queue(self, transport: Transport, priorities: int = 1) -> Queue:
        """Declare a queue of its own for the test."""
        queue = Queue(unique("kit"), priorities=priorities)
        await self.declare(transport, Topology.of([queue]))
        return queue

    async def declare(self, transport: Transport, topology: Topology) -> None:
        """Declare, and delete the queues when the test ends."""
        for queue in topology.queues:
            self.stack.push_async_callback(self.tidy, queue.name)
        await transport.declare(topology)

    async def tidy(self, queue: str) -> None:
        """Delete a queue, whatever state the test has left the transports in."""
        transport = self.make_transport(self.urls, _ignore)
        with suppress(TransportError):
            await transport.open()
            await transport.delete(queue)
        await transport.close()

    async def consume(self, transport: Transport, *queues: Queue | str, prefetch: int = 100) -> Consumer:
        """Return a consumer that is left when the test ends."""
        names = [queue if isinstance(queue, str) else queue.name for queue in queues]
        return await self.stack.enter_async_context(transport.consume(names, prefetch=prefetch))

    async def filled(self, transport: Transport, queue: Queue, count: int, **fields: Any) -> list[Message]:
        """Publish ``count`` messages to ``queue``, confirmed, and return them."""
        messages = [message_to(queue, **fields) for _ in range(count)]
        receipts = await transport.publish(messages)
        assert all(receipt.ok for receipt in receipts), f"not confirmed: {receipts}"
        return messages

    async def child(self, order: str, name: str, urls: Sequence[str] | None = None) -> Child:
        """Start another process (see `celeriac.testing.conformance.child`) that is killed when the test ends."""
        child = Child(self.tried_class, urls or self.urls, order, name)
        self.stack.push_async_callback(child.kill)
        await child.start()
        return child

    async def refused(self, transport: Transport, queue: Queue) -> None:
        """Assert that nothing was written to ``queue``."""
        consumer = await self.consume(transport, queue)
        await nothing(consumer)

    async def still_held_after(self, action: Action) -> None:
        """Assert that ``action`` is `Unsupported`, and that the delivery can be acked afterwards."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 1)
        consumer = await self.consume(transport, queue)
        (held,) = await take(consumer, 1)
        with pytest.raises(Unsupported):
            await consumer.settle([Settlement(held.token, action)])
        await settled(consumer, [held])
        await nothing(consumer)

    def moment(self, delay: timedelta) -> datetime:
        """Return the moment ``delay`` from now."""
        return now() + delay

    async def on_time(self, consumer: Consumer, due: datetime, count: int = 1) -> list[Delivery]:
        """Take ``count`` messages that fall due at ``due``; fail if one is early, or later than the resolution."""
        resolution = (await self.capabilities()).delay_resolution
        taken: list[Delivery] = []
        while len(taken) < count:
            taken += await take(consumer, 1)
            assert now() >= due, f"{(due - now()).total_seconds():.3f} s early"
        late = now() - due - resolution
        assert late < OVERLOAD, f"{late.total_seconds():.3f} s later than the resolution allows"
        return taken


def _ignore(_error: TransportError) -> None:
    """Not told to anyone: a test that cares gives its own ``on_lost``."""


def message_to(queue: Queue | str, **fields: Any) -> Message:
    """Return a message of its own for ``queue``, by the default exchange."""
    name = queue if isinstance(queue, str) else queue.name
    return Message(**{"id": unique("m"), "routing_key": name, "body": b"body", **fields})


async def take(consumer: Consumer, count: int, within: float | None = None) -> list[Delivery]:
    """Return exactly ``count`` deliveries; fail if they do not come within ``within`` seconds, or `patience`."""
    within = patience.get() if within is None else within
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    taken: list[Delivery] = []
    while len(taken) < count and (left := deadline - loop.time()) > 0:
        wanted = count - len(taken)
        got = await consumer.receive(wanted, left)
        assert len(got) <= wanted, f"receive({wanted}) returned {len(got)}"
        taken += got
    assert len(taken) == count, f"{len(taken)} of {count} deliveries within {within} s: {ids(taken)}"
    return taken


async def take_all(consumer: Consumer, quiet: float = QUIET) -> list[Delivery]:
    """Return all that comes, unsettled, until nothing comes for ``quiet`` seconds."""
    taken: list[Delivery] = []
    while got := await consumer.receive(1000, quiet):
        taken += got
    return taken


async def nothing(consumer: Consumer, quiet: float = QUIET) -> None:
    """Assert that nothing comes for ``quiet`` seconds."""
    got = await consumer.receive(1000, quiet)
    assert not got, f"unexpected: {ids(got)}"


async def settled(consumer: Consumer, deliveries: Iterable[Delivery], action: Action = ACK) -> None:
    """Settle each delivery, and assert that the broker did not answer otherwise."""
    receipts = await consumer.settle([Settlement(delivery.token, action) for delivery in deliveries])
    assert all(receipt is not SettleReceipt.LOST for receipt in receipts), f"lost: {receipts}"


async def given_back(consumer: Consumer, deliveries: Iterable[Delivery]) -> None:
    """Requeue each delivery at once."""
    await settled(consumer, deliveries, REQUEUE)


def ids(of: Iterable[Delivery | Message]) -> list[str]:
    """Return the message ids."""
    return [one.id if isinstance(one, Message) else one.message.id for one in of]


def now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)
