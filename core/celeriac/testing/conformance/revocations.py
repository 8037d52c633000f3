"""Revocations: remembered durably, told at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from celeriac.errors import Unsupported
from celeriac.testing.conformance.case import patience, unique
from celeriac.testing.conformance.clauses import clause, lacks, requires
from celeriac.testing.conformance.transport_case import TransportCase

TOLD = 1.0  # seconds, REV-2
AN_HOUR = timedelta(hours=1)


class RevocationTests(TransportCase):
    """Clauses REV-*."""

    @clause("REV-1", "REV-3")
    @requires("revocations")
    async def test_known_on_entry(self) -> None:
        """What was revoked before is known, in one call or several, and after every client was closed."""
        transport = await self.first()
        revoked = [unique("r") for _ in range(5)]
        await transport.revoke(revoked[:3], self.moment(AN_HOUR))
        await transport.revoke(revoked[2:], self.moment(AN_HOUR))
        async with transport.revoked() as seen:
            assert seen.known >= {*revoked}
            assert unique("r") not in seen.known
        await transport.close()
        async with (await self.open()).revoked() as seen:
            assert seen.known >= {*revoked}

    @clause("REV-1")
    @requires("revocations")
    async def test_a_namespace_in_which_nothing_was_revoked(self) -> None:
        """The block is entered all the same, and nothing is known."""
        other = await self.open(self.gift("other_urls"))
        async with asyncio.timeout(patience.get()), other.revoked() as seen:
            assert not seen.known

    @clause("REV-2")
    @requires("revocations")
    async def test_later_ones_are_told(self) -> None:
        """To followers here and on another transport, within a second."""
        transport, other = await self.first(), await self.open()
        revoked = [unique("r") for _ in range(3)]
        async with transport.revoked() as here, other.revoked() as there:
            assert not {*revoked} & (here.known | there.known)
            await transport.revoke(revoked, self.moment(AN_HOUR))
            for follower in (here, there):
                async with asyncio.timeout(TOLD):
                    told: set[str] = set()
                    while not told >= {*revoked}:
                        told.add(await anext(follower.new))

    @clause("REV-1")
    @requires("revocations")
    async def test_revoking_nothing_and_revoking_again(self) -> None:
        """Neither is an error; the later moment holds."""
        transport = await self.first()
        revoked = unique("r")
        await transport.revoke([], self.moment(AN_HOUR))
        await transport.revoke([revoked], self.moment(AN_HOUR))
        await transport.revoke([revoked], self.moment(timedelta(seconds=-1)))
        async with transport.revoked() as seen:
            assert revoked in seen.known

    @clause("CAP-2", "REV-1")
    @lacks("revocations")
    async def test_revocations_are_refused(self) -> None:
        """Both to say and to follow."""
        transport = await self.first()
        with pytest.raises(Unsupported):
            await transport.revoke([unique("r")], self.moment(AN_HOUR))
        with pytest.raises(Unsupported):
            await self.stack.enter_async_context(transport.revoked())
