"""Revocations: a sorted set of ids by the moment until which they hold, and a channel on which each is told.

The set's key ends with the last of them.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from celeriac.transport import Revocations
from celeriac_redis.ear import Inbox
from celeriac_redis.programs import REVOKE, micros

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from celeriac_redis.session import Session

PAGE = 5000


async def revoke(session: Session, ids: Sequence[str], until: datetime) -> None:
    """Remember ``ids``, and tell the followers."""
    layout = session.layout
    for start in range(0, len(ids), PAGE):
        some = ids[start : start + PAGE]
        await session.run(REVOKE, layout.revoked, layout.revocations, json.dumps(some), micros(until), *some)


@asynccontextmanager
async def revoked(session: Session) -> AsyncIterator[Revocations]:
    """Follow the revocations."""
    inbox = Inbox[str]()

    def heard(body: bytes) -> None:
        for one in json.loads(body):
            inbox.put(one)

    with session.following(inbox):
        async with session.hearing(session.layout.revocations, heard):
            known: set[str] = set()
            start = 0
            # told meanwhile is heard meanwhile: what moves within the pages is not missed
            while page := await session.ask("ZRANGE", session.layout.revoked, start, start + PAGE - 1):
                known.update(each.decode() for each in page)
                start += PAGE
            yield Revocations(frozenset(known), inbox)
