"""What somebody took and has not acknowledged for kombu's visibility timeout is given back, as kombu's workers do it.

Ours comes back much sooner, by its lease, as long as one of us consumes its queue.

kombu does it with a lock and several steps; here a script gives back only what is as it was seen, so that two of us, or
one of us and a Celery worker, may do it at a time.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from celeriac_redis import programs
from celeriac_redis.envelope import restored
from celeriac_redis.layout import OURS, SEPARATOR, level_of, matching

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac_redis.scripts import Argument
    from celeriac_redis.session import Session

logger = logging.getLogger("celeriac.redis")

MOST = 100  # at a time
FIELDS = 3  # of a binding: key, expression, queue


async def restore(session: Session, timeout: float) -> int:
    """Give back up to `MOST` messages held for longer than ``timeout`` seconds; return how many."""
    layout = session.layout
    seconds, fraction = await session.ask("TIME")
    oldest = int(seconds) + int(fraction) / 1e6 - timeout
    found = await session.ask(
        "ZRANGEBYSCORE", layout.unacked_index, "-inf", repr(oldest), "WITHSCORES", "LIMIT", 0, MOST
    )
    tags, scores = found[::2], found[1::2]
    if not tags:
        return 0
    kept = await session.ask("HMGET", layout.unacked, *tags)
    arguments: list[Argument] = []
    for tag, score, text in zip(tags, scores, kept, strict=True):
        places = await _places(session, tag, text or b"")
        arguments += [tag, score, len(places), *(argument for place in places for argument in place)]
    count: int = await session.run(programs.RESTORE, *arguments)
    if count:
        logger.warning("%d messages that nobody has acknowledged for %g s were given back", count, timeout)
    return count


async def _places(session: Session, tag: bytes, text: bytes) -> Sequence[tuple[str, str, str]]:
    """Return queue, level and envelope of each place where what stands in unacked belongs.

    Of what one of us held, the queue alone: the rest stands in its tag, and its envelope is kept to the letter.
    """
    if tag.startswith(OURS.encode()):
        _, found, queue = text.rpartition(b',"",')
        return [(json.loads(queue.removesuffix(b"]")), "", "")] if found else []
    try:
        envelope, exchange, key = json.loads(text)
    except (ValueError, RecursionError):
        envelope = exchange = key = None
    if not isinstance(envelope, dict):
        if text:
            logger.error("what somebody holds under %r is no message, and is dropped: %.200r", tag, text)
        return []
    level = level_of(_table(envelope.get("properties")).get("priority"))
    return [(queue, level, restored(envelope)) for queue in await _queues(session, exchange, key)]


async def _queues(session: Session, exchange: Any, key: Any) -> Sequence[str]:
    """Return the queues that kombu would give it back to."""
    if not exchange:
        return [str(key)]
    members = await session.ask("SMEMBERS", f"{session.layout.prefix}_kombu.binding.{exchange}")
    bindings = [member.decode().split(SEPARATOR) for member in members]
    bound = {b[2] for b in bindings if len(b) == FIELDS and matching(b[0], b[1], str(key))}
    return sorted(bound) or [str(key)]  # unbound meanwhile: rather there than nowhere


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
