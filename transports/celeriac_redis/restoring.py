"""What somebody took and has not acknowledged for kombu's visibility timeout is given back, as kombu's workers do it.

Ours comes back much sooner, by its lease, as long as one of us consumes its queue.

kombu does it with a lock and several steps; here a script gives back only what is as it was seen, so that two of us, or
one of us and a Celery worker, may do it at a time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConnectionLost, TransportError
from celeriac_redis import programs
from celeriac_redis.envelope import restored
from celeriac_redis.errors import KeyOfAnotherType, readable
from celeriac_redis.layout import OURS, SEPARATOR, level_of, matching

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac_redis.scripts import Argument
    from celeriac_redis.session import Session

logger = logging.getLogger("celeriac.redis")

MOST = 100  # at a time
FIELDS = 3  # of a binding: key, expression, queue
LOOKS = 20  # in the time of one visibility timeout
LONGEST = 60.0  # seconds between two looks


async def keep_restoring(session: Session, timeout: float) -> None:
    """Look now and then for what was held for longer than ``timeout`` seconds, until the connection is lost.

    What goes wrong with one message, or in one look, ends nothing: others are waited for.
    """
    told = ""
    while True:
        try:
            while await restore(session, timeout) == MOST:
                pass
        except ConnectionLost as error:
            logger.debug("gave up looking for what was forgotten: %s", error)
            return
        except TransportError as error:
            if str(error) != told:  # the same is said once
                told = str(error)
                logger.warning("cannot look for what was forgotten: %s", error)
        await asyncio.sleep(min(LONGEST, timeout / LOOKS))


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
    count: int
    count, *refused = await session.run(programs.RESTORE, *arguments)
    for tag, why in zip(refused[::2], refused[1::2], strict=True):
        logger.error(
            "what somebody holds under %r cannot be given back: %s", tag, readable(why.decode(errors="replace"))
        )
    if count:
        logger.warning("%d messages that nobody has acknowledged for %g s were given back", count, timeout)
    return count


async def _places(session: Session, tag: bytes, text: bytes) -> Sequence[tuple[str, str, str]]:
    """Return queue, level and envelope of each place where what stands in unacked belongs.

    Of what one of us held, the queue alone: the rest stands in its tag, and its envelope is kept to the letter.
    """
    if not text:
        return []  # settled meanwhile
    ours = tag.startswith(OURS.encode())
    _, _, ending = text.rpartition(b',"",')
    try:
        envelope, exchange, key = ({}, "", json.loads(ending.removesuffix(b"]"))) if ours else json.loads(text)
    except (ValueError, TypeError, RecursionError):
        envelope = exchange = key = None
    if not isinstance(envelope, dict) or not isinstance(key, str):
        logger.error("what somebody holds under %r is no message, and is dropped: %.200r", tag, text)
        return []
    if ours:
        return [(key, "", "")]
    level = level_of(_table(envelope.get("properties")).get("priority"))
    return [(queue, level, restored(envelope)) for queue in await _queues(session, exchange, key)]


async def _queues(session: Session, exchange: Any, key: str) -> Sequence[str]:
    """Return the queues that kombu would give it back to."""
    if not exchange:
        return [key]
    try:
        members = await session.ask("SMEMBERS", f"{session.layout.prefix}_kombu.binding.{exchange}")
    except KeyOfAnotherType:
        members = ()
    bound = {queue for member in members if (queue := _bound(member, key)) is not None}
    return sorted(bound) or [key]  # unbound meanwhile: rather there than nowhere


def _bound(member: bytes, key: str) -> str | None:
    """Return the queue of a binding that takes ``key``; nothing of one that does not, or is none."""
    try:
        fields = member.decode().split(SEPARATOR)
        return fields[2] if len(fields) == FIELDS and matching(fields[0], fields[1], key) else None
    except (UnicodeDecodeError, re.error):
        return None


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
