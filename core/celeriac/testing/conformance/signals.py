"""Signals: told to whoever listens now, kept for nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from celeriac.testing.conformance.case import QUIET, patience, unique
from celeriac.testing.conformance.clauses import clause, requires
from celeriac.testing.conformance.transport_case import TransportCase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from celeriac.transport import Transport

HEARD = 1.0  # seconds, SIG-1


class SignalTests(TransportCase):
    """Clauses SIG-*."""

    async def _listen(self, transport: Transport, topic: str) -> AsyncIterator[bytes]:
        return await self.stack.enter_async_context(transport.listen(topic))

    @clause("SIG-1")
    async def test_every_listener_of_the_topic(self) -> None:
        """On the same transport, twice, and on another; within a second; other topics hear nothing."""
        transport, other = await self.first(), await self.open()
        topic = unique("kit")
        listeners = [await self._listen(t, topic) for t in (transport, transport, other)]
        stranger = await self._listen(transport, unique("kit"))
        body = bytes(range(256))
        await transport.signal(topic, body)
        async with asyncio.timeout(HEARD):
            assert await asyncio.gather(*(anext(listener) for listener in listeners)) == [body] * 3
        await _silent(stranger)

    @clause("SIG-1")
    @requires("cross_process")
    async def test_from_another_process(self) -> None:
        """A listener here hears what is signalled there."""
        topic = unique("kit")
        listener = await self._listen(await self.first(), topic)
        child = await self.child("signal", topic)
        async with asyncio.timeout(patience.get()):  # the process has to start first
            assert await anext(listener) == b"from a child"
        assert await child.says() == "done"

    @clause("SIG-2")
    async def test_nobody_listens(self) -> None:
        """It is no error, whether nobody ever listened or nobody does any more."""
        transport = await self.first()
        topic = unique("kit")
        await transport.signal(topic, b"one")
        async with transport.listen(topic):
            pass
        await transport.signal(topic, b"two")

    @clause("SIG-3")
    async def test_in_order_and_not_kept(self) -> None:
        """What was said before the block was entered is never heard, what is said after comes in order."""
        transport = await self.first()
        topic = unique("kit")
        await transport.signal(topic, b"too early")
        listener = await self._listen(transport, topic)
        said = [str(number).encode() for number in range(20)]
        for body in said:
            await transport.signal(topic, body)
        async with asyncio.timeout(patience.get()):
            assert [await anext(listener) for _ in said] == said
        await _silent(listener)


async def _silent(listener: AsyncIterator[bytes]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(QUIET):
            pytest.fail(f"heard {await anext(listener)!r}")
