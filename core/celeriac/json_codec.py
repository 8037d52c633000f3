"""JSON as Celery writes it, with kombu's typed values.

`JsonCodec` writes JSON as Celery's own serializer (kombu 5.3 and later) does: what JSON lacks travels as an object with
exactly the two keys ``__type__`` and ``__value__``. Source: kombu's ``kombu/utils/json.py``, and bytes captured from
it.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from celeriac.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

JSON = "application/json"
_TYPE = "__type__"
_VALUE = "__value__"
_ENVELOPE = {_TYPE, _VALUE}
_DEEPEST = 200
_DEEPEST_SHOWN = 6
_NO_WORKFLOW = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'


class JsonCodec:
    """JSON with kombu's typed values: datetime, date, time, Decimal, UUID and bytes come back as what they were.

    A tuple comes back as a list, an object with ``__json__()`` as what that returns. NaN and the infinities are written
    and read as Python does. A dict with exactly the keys ``__type__`` and ``__value__`` is read as a typed value.
    """

    content_type = JSON
    content_encoding = "utf-8"

    def encode(self, value: Any) -> bytes:
        """Return ``value`` as ASCII JSON.

        Raises:
            EncodeError: names where in the value the culprit is, and what to pass instead.
        """
        write = _SIMPLE.get(type(value))
        try:
            return (_encode(value) if write is None else write(value)).encode("ascii")
        except Exception as error:  # __json__ and subclasses of dict are user code
            raise _blame(value, error) from error

    def encode_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Return the body of a task message; as `encode` of its three parts, of which the third is always the same.

        Raises:
            EncodeError: its path begins with 0 in ``args``, with 1 in ``kwargs``.
        """
        try:
            named = _encode(kwargs) if kwargs else "{}"
            return f"[{_encode(args)}, {named}, {_NO_WORKFLOW}]".encode("ascii")
        except Exception as error:  # as above
            raise _blame((args, kwargs), error) from error

    def decode(self, data: bytes) -> Any:
        """Return the value.

        Raises:
            DecodeError: bad UTF-8, broken JSON, nested too deeply, or a typed value that is unknown or broken.
        """
        try:
            text = data.decode("utf-8")
            if _TYPE in text:
                return _decode_typed(text)
            if text[:1] <= " ":
                return _decode_plain(text)
            value, end = _decode_start(text)
            return value if end == len(text) else _decode_plain(text)
        except RecursionError:
            raise DecodeError("the JSON cannot be read: it is nested too deeply") from None
        except ValueError as error:
            raise DecodeError(f"the JSON cannot be read: {error}") from error


class UncarriableError(TypeError):
    """There is no typed value for a value; the text says what to pass instead."""


def typed_value(value: Any) -> Any:
    """Return what stands for a value that JSON lacks: its typed value, or what its ``__json__()`` returns.

    Raises:
        UncarriableError: it has neither.
    """
    reduce = getattr(value, "__json__", None)
    if reduce is not None:
        return reduce()
    for kind, name, write in _WRITERS:
        if isinstance(value, kind):
            return {_TYPE: name, _VALUE: write(value)}
    if isinstance(value, bytes):
        try:
            return {_TYPE: "bytes", _VALUE: value.decode("utf-8")}
        except UnicodeDecodeError:
            return {_TYPE: "base64", _VALUE: b64encode(value).decode("ascii")}
    raise UncarriableError(f"type {_name(value)} cannot be carried as {JSON}; {_advice(value)}")


# a datetime is a date too: the order matters
_WRITERS: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (datetime, "datetime", datetime.isoformat),
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (Decimal, "decimal", str),
    (UUID, "uuid", lambda value: {"hex": value.hex}),
)

_READERS: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": lambda text: datetime.fromisoformat(text).date(),
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": lambda table: UUID(hex=table["hex"]),
    "bytes": lambda text: text.encode("utf-8"),
    "base64": lambda text: b64decode(text, validate=True),
}


def revive(table: dict[str, Any]) -> Any:
    """Return the value that a typed value stands for; any other dict as it is.

    Raises:
        ValueError: the type is unknown, or its value broken.
    """
    if table.keys() != _ENVELOPE:
        return table
    name = table[_TYPE]
    reader = _READERS.get(name) if isinstance(name, str) else None
    if reader is None:
        raise ValueError(f"a typed value of unknown type {name!r:.80}")
    try:
        return reader(table[_VALUE])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{table[_VALUE]!r:.80} is no {name}") from error


_encode = json.JSONEncoder(default=typed_value).encode
_SIMPLE: dict[type, Callable[[Any], str]] = {
    int: int.__repr__,
    str: json.encoder.encode_basestring_ascii,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
}
_decoder = json.JSONDecoder()
_decode_plain = _decoder.decode
_decode_start = _decoder.raw_decode  # takes no white space before it, and does not look behind it
_decode_typed = json.JSONDecoder(object_hook=revive).decode


def _blame(value: object, error: Exception) -> EncodeError:
    """Return the error that names the part of ``value`` which cannot be encoded."""
    try:
        culprit = _culprit(value, (), ())
    except Exception:  # noqa: BLE001  looking into user objects may raise anything; the first error is what counts
        culprit = None
    path, problem = culprit or ((), f"it cannot be carried as {JSON}: {type(error).__name__}: {error}")
    return EncodeError(problem, root="value", path=path)


def _culprit(value: object, path: tuple[Any, ...], above: tuple[object, ...]) -> tuple[tuple[Any, ...], str] | None:
    """Return the path to the first part that cannot be encoded, and why; ``None`` if all of it can."""
    if problem := _problem(value, above):
        return (path if len(path) <= _DEEPEST else path[:_DEEPEST_SHOWN]), problem
    parts: Iterable[tuple[Any, object]] = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    for step, part in parts:
        if found := _culprit(part, (*path, step), (*above, value)):
            return found
    return None


def _problem(value: object, above: tuple[object, ...]) -> str:
    """Return why ``value`` itself, not a part of it, cannot be encoded where it stands; nothing if it can."""
    if any(value is outer for outer in above):
        return "it contains itself; pass data without cycles"
    if len(above) > _DEEPEST:
        return "it is nested too deeply; pass flatter data"
    if isinstance(value, dict):
        odd = next((key for key in value if not isinstance(key, str | int | float | None)), None)
        return "" if odd is None else f"the key {odd!r:.60} is of type {_name(odd)}; use strings as keys"
    if not isinstance(value, list | tuple):
        try:
            _encode(value)
        except UncarriableError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001  __json__ is user code
            return f"{type(error).__name__}: {error}"
    return ""


def _name(value: object) -> str:
    return type(value).__qualname__


def _advice(value: object) -> str:
    """Say what to pass instead of ``value``."""
    if isinstance(value, set | frozenset):
        return "pass a list"
    if isinstance(value, bytearray | memoryview):
        return "pass bytes"
    if isinstance(value, Enum):
        return "annotate the task's parameter with its class, or pass its .value"
    if is_dataclass(value):
        return "annotate the task's parameter with its class, or pass dataclasses.asdict() of it"
    return "pass plain data, or give its class a __json__() method"
