"""Exchanges, queues and bindings as they stand in Redis: see ``scripts/declare.lua``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from celeriac.errors import TopologyMismatch
from celeriac.topology import DEFAULT_EXCHANGE
from celeriac_redis import programs
from celeriac_redis.capabilities import refuse_name, refuse_priorities
from celeriac_redis.layout import pattern
from celeriac_redis.programs import declaration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.topology import Queue, Topology
    from celeriac_redis.options import Options
    from celeriac_redis.scripts import Argument
    from celeriac_redis.session import Session


async def declare(session: Session, topology: Topology, options: Options) -> None:
    """Make ``topology`` exist, or check it.

    Raises:
        TopologyMismatch: names the queue or exchange, and what differs, or that it is missing.
        Unsupported: a name that a queue cannot have, or priorities on a queue that is shared with Celery.
    """
    for queue in topology.queues:
        refuse_name(queue)
        refuse_priorities(queue, options)
    types = {exchange.name: exchange.type for exchange in topology.exchanges}
    exchanges = [(name, kind) for name, kind in types.items() if name != DEFAULT_EXCHANGE]
    queues = [(queue.name, declaration(queue)) for queue in topology.queues]
    bindings = [
        (one.exchange, one.routing_key, pattern(types.get(one.exchange, "direct"), one.routing_key), one.queue)
        for one in topology.bindings
        if one.exchange != DEFAULT_EXCHANGE
    ]
    arguments: list[Argument] = [topology.mode]
    rows: Sequence[Sequence[tuple[str, ...]]] = (exchanges, queues, bindings)
    for kind in rows:
        arguments.append(len(kind))
        arguments += [text for row in kind for text in row]
    verdict = [part.decode() for part in await session.run(programs.DECLARE, *arguments)]
    if verdict != ["declared"]:
        raise TopologyMismatch(_difference(verdict, topology))


def _difference(verdict: Sequence[str], topology: Topology) -> str:
    match verdict:
        case ["exchange", name, kind]:
            wanted = next(exchange.type for exchange in topology.exchanges if exchange.name == name)
            return f"exchange {name!r} is of type {kind!r}, not {wanted!r}"
        case ["queue", name, declared]:
            wanted_queue = next(queue for queue in topology.queues if queue.name == name)
            return f"queue {name!r} exists with {differing(declared, wanted_queue)}"
        case ["no binding", exchange, key, name]:
            return f"queue {name!r} is not bound to exchange {exchange!r} by {key!r}"
        case [missing, name]:
            return f"{missing.removeprefix('no ')} {name!r} does not exist"
    return " ".join(verdict)


def differing(declared: str, wanted: Queue) -> str:
    """Return what of a kept declaration differs from ``wanted``."""
    priorities, _, text = declared.partition(" ")
    if priorities != str(wanted.priorities):
        return f"priorities={priorities}, not {wanted.priorities}"
    known = json.loads(text)
    for name in sorted({*known, *wanted.arguments}):
        if known.get(name) != wanted.arguments.get(name):
            return f"argument {name}={known.get(name)!r}, not {wanted.arguments.get(name)!r}"
    return f"arguments {text}"
