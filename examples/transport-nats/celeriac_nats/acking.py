"""Telling JetStream what became of deliveries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from celeriac_nats.link import Link

ACK = b"+ACK"
IN_PROGRESS = b"+WPI"
ANSWER_WITHIN = 10.0  # seconds


def later(delay: timedelta) -> bytes:
    """Return the word that asks for another delivery after ``delay``."""
    return b'-NAK {"delay": %d}' % max(0, int(delay.total_seconds() * 1e9))


async def tell(link: Link, replies: Iterable[str], word: bytes) -> None:
    """Say ``word`` of each delivery, named by its reply subject; return once the server has taken all.

    A server takes the words for one consumer in the order in which they come, so the answer to the last one of each
    stands for all.

    Raises:
        ConnectionLost: nobody knows how many were taken.
    """
    by_stream: dict[str, list[str]] = {}
    for reply in replies:
        by_stream.setdefault(reply.split(".")[2], []).append(reply)

    async def say() -> None:
        last = []
        for *before, final in by_stream.values():
            for reply in before:
                await link.say(reply, word)
            last.append(link.nc.request(final, word, timeout=ANSWER_WITHIN))
        await asyncio.gather(*last)

    if by_stream:
        await link.ask(say(), "cannot settle")
