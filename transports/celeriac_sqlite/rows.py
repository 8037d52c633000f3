"""Messages as the file keeps them: properties as JSON text, the body as bytes."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.errors import ConfigurationError, Unsupported
from celeriac.message import Message
from celeriac.topology import PRIORITY_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

T = TypeVar("T")
BYTES = "$bytes"
MOST_BYTES = 16 * 2**20  # of one statement: far below SQLite's limit of 10**9 bytes for one value


def dump(value: Any) -> str:
    """Return headers as JSON text; bytes and keys beginning with ``$`` are marked with a ``$``.

    Raises:
        Unsupported: a value of a type that no broker carries, or nested too deeply.
    """
    try:
        try:
            text = json.dumps(value, separators=(",", ":"), sort_keys=True)
        except TypeError:
            text = "$"  # not plain JSON: mark what is not
        return json.dumps(_marked(value), separators=(",", ":"), sort_keys=True) if "$" in text else text
    except RecursionError:
        raise Unsupported("headers are nested too deeply") from None


def load(text: str) -> Any:
    """Return what `dump` was given."""
    value = json.loads(text)
    return _unmarked(value) if '"$' in text else value


def properties_of(message: Message) -> str:
    """Return all of ``message`` but its body, priority and moment.

    Raises:
        ConfigurationError: its priority is none.
        Unsupported: a header that no broker carries.
    """
    if not 0 <= message.priority < PRIORITY_LEVELS:
        raise ConfigurationError(f"priority {message.priority} is not 0 to {PRIORITY_LEVELS - 1} (higher is sooner)")
    return dump(
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
    return Message(body=bytes.fromhex(body), priority=priority, **load(properties))


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


def _marked(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return {BYTES: b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {("$" + key if str(key).startswith("$") else str(key)): _marked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_marked(item) for item in value]
    raise Unsupported(f"a header cannot hold a {type(value).__name__}")


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {BYTES}:
            return b64decode(value[BYTES])
        return {(key[1:] if key.startswith("$$") else key): _unmarked(item) for key, item in value.items()}
    return value
