"""Headers are copied where a message comes in and where it goes out: a broker shares no memory with its clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celeriac.errors import Unsupported

if TYPE_CHECKING:
    from celeriac.message import Message


def own_copy(message: Message) -> Message:
    """Return ``message`` with headers of its own.

    Raises:
        Unsupported: a header of a type that no broker carries.
    """
    return replace(message, headers=_copied(message.headers)) if message.headers else message


def _copied(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(item) for item in value]
    raise Unsupported(f"a header cannot hold a {type(value).__name__}")
