"""The scripts of the transport, and how their arguments and answers are written. Pure, but for reading the files."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from celeriac.topology import PRIORITY_LEVELS
from celeriac_redis.envelope import encode
from celeriac_redis.scripts import Script

if TYPE_CHECKING:
    from celeriac.message import Message
    from celeriac.topology import Queue
    from celeriac_redis.scripts import Argument

PUBLISH = Script("common", "routing", "publish")
SETTLE = Script("common", "routing", "settle")
CLAIM = Script("common", "claim")
EXTEND = Script("common", "extend")
DECLARE = Script("common", "declare")
LOOK = Script("common", "look")
PURGE = Script("common", "purge")
DELETE = Script("common", "delete")
PAUSE = Script("common", "pause")
RESTORE = Script("common", "restore")
REVOKE = Script("common", "revoke")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def message_arguments(message: Message, now: datetime, *, at_once: bool = False) -> list[Argument]:
    """Return the seven arguments of ``message``, perhaps not to be delayed here: see ``scripts/routing.lua``.

    Raises:
        Unsupported: a header that no broker carries.
    """
    return [
        message.exchange,
        message.routing_key,
        str(message.priority),
        "" if message.not_before is None or at_once else micros(message.not_before),
        "1" if message.mandatory else "0",
        uuid.uuid4().hex,
        encode(message, now),
    ]


def declaration(queue: Queue) -> str:
    """Return what stands for ``queue`` in the hash of the queues."""
    return f"{queue.priorities} {json.dumps(dict(queue.arguments), sort_keys=True)}"


def levels_in(declared: bytes) -> int:
    """Return how many priorities the queue has that was declared as `declaration` writes it."""
    number = declared.partition(b" ")[0]
    return int(number) if number.isdigit() else PRIORITY_LEVELS


def micros(moment: datetime) -> int:
    """Return a moment in microseconds since 1970."""
    return (moment - EPOCH) // MICROSECOND
