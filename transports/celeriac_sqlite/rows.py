"""Messages as the file keeps them: properties as JSON text, the body as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from celeriac.errors import ConfigurationError
from celeriac.message import Message
from celeriac.topology import PRIORITY_LEVELS
from celeriac.transport_helpers import dump_headers, load_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
MOST_BYTES = 16 * 2**20  # of one statement: far below SQLite's limit of 10**9 bytes for one value


def properties_of(message: Message) -> str:
    """Return all of ``message`` but its body, priority and moment.

    Raises:
        ConfigurationError: its priority is none.
        Unsupported: a header that no broker carries.
    """
    if not 0 <= message.priority < PRIORITY_LEVELS:
        raise ConfigurationError(f"priority {message.priority} is not 0 to {PRIORITY_LEVELS - 1} (higher is sooner)")
    return dump_headers(
        {
            "id": message.id,
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "content_type": message.content_type,
            "content_encoding": message.content_encoding,
            "headers": message.headers,
            "correlation_id": message.correlation_id,
            "reply_to": message.reply_to,
        }
    )


def message_of(properties: str, body: str, priority: int) -> Message:
    """Return the message; ``body`` is in hexadecimal."""
    return Message(body=bytes.fromhex(body), priority=priority, **load_headers(properties))


def joined(bodies: Iterable[bytes]) -> tuple[bytes, list[tuple[int, int]]]:
    """Return ``bodies`` as one, and where each stands in it, as SQL's ``substr`` counts: from 1, and how long."""
    kept = list(bodies)
    places, start = [], 1
    for body in kept:
        places.append((start, len(body)))
        start += len(body)
    return b"".join(kept), places


def slices(rows: Sequence[T], size: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """Yield ``rows`` in runs of some megabytes each, so that no statement's value grows too large."""
    start = total = 0
    for index, row in enumerate(rows):
        total += size(row)
        if total > MOST_BYTES and index > start:
            yield rows[start:index]
            start, total = index, size(row)
    if start < len(rows):
        yield rows[start:]
