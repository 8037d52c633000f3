"""A transport whose connection is as bad as the weather: what a simulated process has for a broker.

Each call travels to the broker and its answer back; on either way the process may be killed, the connection lost, or
everything wait because the process is cut off. What the broker does in between is one step, noted in the ledger.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from celeriac.errors import ConnectionLost, TransportError
from celeriac.message import Outcome, Receipt
from celeriac.testing.simulation.consumer import SimulatedConsumer
from celeriac.testing.simulation.node import running_node
from celeriac.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from typing import Protocol

    from celeriac.clock import Clock
    from celeriac.message import Message
    from celeriac.testing.simulation.node import Node
    from celeriac.topology import Queue, Topology
    from celeriac.transport import Capabilities, Consumer, Depth, Revocations

    class Severable(Protocol):
        """What the broker inside the process offers to tests."""

        def sever(self) -> None:
            """Lose the connection, as a broker that dies would."""
            ...


T = TypeVar("T")


class Wire:
    """One connection of one process: two directions, each in order."""

    def __init__(self, node: Node) -> None:
        """Belong to ``node``."""
        self.node = node
        self.loss: TransportError | None = None
        self.cut: Callable[[str], None] = lambda _: None
        self._out = 0.0
        self._back = 0.0

    async def out(self) -> None:
        """Reach the broker.

        Raises:
            ConnectionLost: on the way.
        """
        await self.node.may_die("before a call")
        self._out = await self.node.travel(self._out)
        self._may_lose()

    async def back(self) -> None:
        """Come back from the broker; raises as `out`."""
        await self.node.may_die("after a call")
        self._back = await self.node.travel(self._back)
        self._may_lose()

    def _may_lose(self) -> None:
        weather = self.node.weather
        if self.loss is None and weather.lose and self.node.random.random() < weather.lose:
            self.cut("the connection broke")
        if self.loss is not None:
            raise self.loss

    async def ask(self, effect: Callable[[], Awaitable[T]]) -> T:
        """Travel, let the broker act, and come back."""
        await self.out()
        return await self.await_answer(effect)

    async def await_answer(self, effect: Callable[[], Awaitable[T]]) -> T:
        """Let the broker act, and come back."""
        try:
            answer = await effect()
        except TransportError:
            await self.back()
            raise
        await self.back()
        return answer


class SimulatedTransport(Transport):
    """The broker, as one process reaches it."""

    def __init__(self, urls: Sequence[str], *, clock: Clock, on_lost: Callable[[TransportError], None]) -> None:
        """Belong to the running process."""
        super().__init__(urls, clock=clock, on_lost=on_lost)
        self._node = running_node()
        self._outside = self._node.outside
        self._node.lines.append(self)
        self._inner = self._outside.transport(self._inner_lost)
        self._wire = Wire(self._node)
        self._wire.loss = ConnectionLost("not open")
        self._open = False
        self._unheard: TransportError | None = None

    def capabilities(self, queue: Queue) -> Capabilities:
        """Return what holds for ``queue``."""
        return self._outside.shape.seen(self._inner.capabilities(queue))

    async def open(self) -> None:
        """Connect, if the broker is up."""
        if self._open:
            return
        wire = Wire(self._node)
        await wire.out()
        if not self._outside.up:
            await wire.back()
            raise ConnectionLost("the broker is down")
        await self._inner.open()
        wire.cut = self.cut
        self._wire, self._open = wire, True
        await wire.back()

    async def close(self) -> None:
        """Say goodbye: what is unsettled goes back."""
        if not self._open:
            return
        with suppress(ConnectionLost):
            await self._wire.out()
        if self._open:
            self._open = False
            self._wire.loss = ConnectionLost("the transport was closed")
            await self._inner.close()

    def cut(self, why: str) -> None:
        """Lose the connection: the broker sees it now, the process when it can be reached."""
        if self._open:
            self._outside.story.tell(f"connection lost: {why}", process=self._node.name)
            cast("Severable", self._inner).sever()

    def _inner_lost(self, error: TransportError) -> None:
        self._open = False
        self._wire.loss = error
        self._unheard = error
        if self._node.reachable:
            self.heard()

    def heard(self) -> None:
        """Tell the process of a loss that it has not heard of."""
        if self._unheard is not None:
            error, self._unheard = self._unheard, None
            self._node.call_soon(self.on_lost, error)

    async def declare(self, topology: Topology) -> None:
        """Make ``topology`` exist."""
        await self._wire.ask(lambda: self._inner.declare(topology))

    async def publish(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        """Store messages; their confirms may be lost."""
        wire = self._wire
        await wire.out()
        stamped = [self._outside.ledger.stamped(message) for message in messages]
        receipts = await self._inner.publish(stamped)
        self._outside.ledger.stored([m for m, receipt in zip(stamped, receipts, strict=True) if receipt.ok])
        try:
            await wire.back()
        except TransportError as error:
            return [Receipt(Outcome.UNCONFIRMED, str(error)) if receipt.ok else receipt for receipt in receipts]
        return [self._perhaps_unconfirmed(receipt) for receipt in receipts]

    def _perhaps_unconfirmed(self, receipt: Receipt) -> Receipt:
        weather, random = self._node.weather, self._node.random
        if receipt.ok and weather.unconfirmed and random.random() < weather.unconfirmed:
            return Receipt(Outcome.UNCONFIRMED, "its confirm was lost")
        return receipt

    @asynccontextmanager
    async def consume(self, queues: Sequence[str], *, prefetch: int) -> AsyncIterator[Consumer]:
        """Open a window on ``queues``."""
        wire = self._wire
        block = self._inner.consume(queues, prefetch=prefetch)
        consumer = SimulatedConsumer(wire, self._outside, self._inner, await wire.ask(block.__aenter__))
        try:
            yield consumer
        finally:
            await self._leave(wire, consumer, block)

    async def _leave(self, wire: Wire, consumer: SimulatedConsumer, block: AbstractAsyncContextManager[Any]) -> None:
        """Say goodbye; the broker may have closed the window already."""
        with suppress(ConnectionLost):
            await wire.out()
            await consumer.leaves()
        await block.__aexit__(None, None, None)

    async def signal(self, topic: str, body: bytes) -> None:
        """Tell every listener."""
        await self._wire.ask(lambda: self._inner.signal(topic, body))

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Hear what is signalled."""
        async with self._over_wire(self._inner.listen(topic)) as (wire, bodies):
            yield _travelling(wire, bodies)

    async def depth(self, queue: str) -> Depth:
        """Say how full ``queue`` is."""
        return await self._wire.ask(lambda: self._inner.depth(queue))

    async def purge(self, queue: str) -> int:
        """Drop what is ready."""
        return await self._wire.ask(lambda: self._inner.purge(queue))

    async def delete(self, queue: str) -> None:
        """Delete ``queue``."""
        await self._wire.ask(lambda: self._inner.delete(queue))

    async def peek(self, queue: str, limit: int) -> Sequence[Message]:
        """Return the next ready messages."""
        return await self._wire.ask(lambda: self._inner.peek(queue, limit))

    async def pause(self, queue: str) -> None:
        """Deliver nothing of ``queue``."""
        await self._wire.ask(lambda: self._inner.pause(queue))

    async def resume(self, queue: str) -> None:
        """Deliver again."""
        await self._wire.ask(lambda: self._inner.resume(queue))

    async def revoke(self, ids: Sequence[str], until: datetime) -> None:
        """Remember that ``ids`` are not to be run."""
        await self._wire.ask(lambda: self._inner.revoke(ids, until))

    @asynccontextmanager
    async def revoked(self) -> AsyncIterator[Revocations]:
        """Follow the revocations."""
        async with self._over_wire(self._inner.revoked()) as (wire, seen):
            yield replace(seen, new=_travelling(wire, seen.new))

    @asynccontextmanager
    async def _over_wire(self, block: AbstractAsyncContextManager[T]) -> AsyncIterator[tuple[Wire, T]]:
        """Enter a block of the broker from afar."""
        wire = self._wire
        entered = await wire.ask(block.__aenter__)
        try:
            yield wire, entered
        finally:
            await block.__aexit__(None, None, None)


async def _travelling(wire: Wire, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """Let each item come over the wire."""
    while True:
        yield await wire.await_answer(items.__anext__)
