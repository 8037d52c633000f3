"""Life and capabilities: constructing, opening, closing, and what is claimed."""

from __future__ import annotations

import gc
from dataclasses import fields
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from celeriac.errors import AccessRefused, ConfigurationError, ConnectionLost, QueueNotFound, TransportError
from celeriac.testing.conformance.case import eventually, footprint, unique
from celeriac.testing.conformance.clauses import clause
from celeriac.testing.conformance.transport_case import (
    TransportCase,
    ids,
    message_to,
    nothing,
    settled,
    take,
)
from celeriac.topology import Queue, Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.transport import Capabilities, Transport

PASSWORD = "open-sesame"  # noqa: S105 - a test looks for it where it must not be


class LifeTests(TransportCase):
    """Clauses LIFE-* and CAP-*."""

    @clause("LIFE-1")
    async def test_constructing_opens_nothing(self) -> None:
        """No socket, file, thread or task; asking capabilities does not change that."""
        before = footprint()
        self.make().capabilities(Queue("kit"))
        assert footprint() == before

    @clause("LIFE-1")
    async def test_an_unknown_option_is_refused(self) -> None:
        """By its name, before anything is opened."""
        url = self.urls[0]
        odd = f"{url}{'&' if urlsplit(url).query else '?'}no_such_option_of_any_broker=1"
        with pytest.raises(ConfigurationError, match="no_such_option_of_any_broker"):
            self.make([odd])

    @clause("LIFE-2")
    async def test_opening_twice_does_nothing(self) -> None:
        """What was consumed before the second call is still settled after it."""
        transport = await self.first()
        queue = await self.queue(transport)
        await self.filled(transport, queue, 1)
        consumer = await self.consume(transport, queue)
        taken = await take(consumer, 1)
        await transport.open()
        await settled(consumer, taken)
        await nothing(consumer)

    @clause("LIFE-3", "LIFE-6")
    async def test_nobody_answers(self) -> None:
        """`ConnectionLost`, with the address, the cause, and no password."""
        await self._cannot_open(self.gift("unreachable_urls"), ConnectionLost)

    @clause("LIFE-3", "LIFE-6")
    async def test_the_broker_refuses_us(self) -> None:
        """`AccessRefused`, with the address, the cause, and no password."""
        await self._cannot_open(self.gift("refused_urls"), AccessRefused)

    async def _cannot_open(self, urls: Sequence[str], error: type[TransportError]) -> None:
        transport = self.make(urls)
        with pytest.raises(error) as raised:
            await transport.open()
        said = f"{raised.value}{raised.value!r}"
        assert PASSWORD not in said
        assert any((urlsplit(url).hostname or urlsplit(url).path) in said for url in urls), said
        assert raised.value.__cause__ is not None

    @clause("LIFE-4")
    async def test_close_leaves_nothing(self) -> None:
        """No descriptor, thread or task is left of a transport that did everything; closing again does nothing."""
        queue = await self.queue(await self.first())
        await self._used(queue)  # what a first use loads and keeps for good is not counted
        before = footprint()
        await self._used(queue)

        async def after() -> tuple[int, set[int | None], int]:
            gc.collect()
            return footprint()

        await eventually(after, lambda now: now[0] <= before[0] and now[1] <= before[1] and now[2] <= before[2])

    async def _used(self, queue: Queue) -> None:
        transport = self.make()
        await transport.close()
        await transport.open()
        await transport.publish([message_to(queue)])
        async with transport.consume([queue.name], prefetch=1) as consumer, transport.listen(unique("kit")):
            await settled(consumer, await take(consumer, 1))
        await transport.close()
        await transport.close()

    @clause("LIFE-4", "RCV-8")
    async def test_close_gives_back_what_is_held(self) -> None:
        """A transport that is closed within a consume block holds nothing afterwards."""
        transport, other = await self.first(), await self.open()
        queue = await self.queue(transport)
        (message,) = await self.filled(transport, queue, 1)
        await take(await self.consume(other, queue), 1)
        await other.close()
        (delivery,) = await take(await self.consume(transport, queue), 1)
        assert (delivery.message.id, delivery.redelivered) == (message.id, True)

    @clause("LIFE-5")
    async def test_what_was_published_outlives_close(self) -> None:
        """For the transport that is opened again, and for another one."""
        transport = await self.first()
        queue = await self.queue(transport)
        messages = await self.filled(transport, queue, 2)
        await transport.close()
        await transport.open()
        consumer = await self.consume(transport, queue)
        (first,) = await take(consumer, 1)
        await settled(consumer, [first])
        await transport.close()
        other = await self.open()
        (second,) = await take(await self.consume(other, queue), 1)
        assert ids([first, second]) == ids(messages)

    @clause("LIFE-6")
    async def test_nothing_works_unopened(self) -> None:
        """Before `open` and after `close` every operation raises `ConnectionLost`."""
        transport = self.make()
        queue = Queue(unique("kit"))
        calls: list[Callable[[Transport], object]] = [
            lambda t: t.declare(Topology.of([queue])),
            lambda t: t.publish([message_to(queue)]),
            lambda t: t.signal("kit", b""),
            lambda t: t.depth(queue.name),
            lambda t: t.purge(queue.name),
            lambda t: t.delete(queue.name),
            lambda t: t.consume([queue.name], prefetch=1).__aenter__(),
            lambda t: t.listen("kit").__aenter__(),
        ]
        for _ in range(2):
            for call in calls:
                with pytest.raises(ConnectionLost):
                    await call(transport)  # type: ignore[misc]
            await transport.open()
            await transport.close()

    @clause("LIFE-7")
    async def test_same_url_same_queues(self) -> None:
        """What one transport declares and publishes, another one of the same URL consumes."""
        one, other = await self.first(), await self.open()
        queue = await self.queue(one)
        messages = await self.filled(one, queue, 1)
        assert ids(await take(await self.consume(other, queue), 1)) == ids(messages)

    @clause("LIFE-7")
    async def test_other_names_share_nothing(self) -> None:
        """A queue of one namespace does not exist in another."""
        other = await self.open(self.gift("other_urls"))
        queue = await self.queue(await self.first())
        with pytest.raises(QueueNotFound):
            await other.depth(queue.name)

    @clause("CAP-1")
    async def test_capabilities_only_grow(self) -> None:
        """Nothing that was claimed before `open` is smaller afterwards."""
        for queue in (Queue("kit"), Queue("kit", priorities=10)):
            transport = self.make()
            claimed = transport.capabilities(queue)
            await transport.open()
            smaller = shrunk(claimed, transport.capabilities(queue))
            assert not smaller, f"smaller once open: {smaller}"


def shrunk(before: Capabilities, after: Capabilities) -> list[str]:
    """Return the names of the capabilities that are smaller in ``after``."""
    smaller = []
    for name in (field.name for field in fields(before)):
        old, new = getattr(before, name), getattr(after, name)
        if name == "delay_resolution":
            old, new = -old, -new
        if name in {"lease", "renew_every"}:
            worse = old is not None and old != new
        else:
            worse = old is not None and (new is None or new < old)
        if worse:
            smaller.append(name)
    return smaller
