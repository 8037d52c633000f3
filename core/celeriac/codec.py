"""How values become bytes: one codec a content type, and the registry that finds it.

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
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from celeriac.errors import ConfigurationError, DecodeError, EncodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

JSON = "application/json"
_TYPE = "__type__"
_VALUE = "__value__"
_ENVELOPE = {_TYPE, _VALUE}
_DEEPEST = 200
_DEEPEST_SHOWN = 6
_AS_IT_IS = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii", "binary"})


class Codec(Protocol):
    """One way to write values as bytes."""

    @property
    def content_type(self) -> str:
        """The MIME type, in lower case, without parameters."""
        ...

    @property
    def content_encoding(self) -> str:
        """The character set of what is written, or ``binary``."""
        ...

    def encode(self, value: Any) -> bytes:
        """Return ``value`` as bytes.

        Raises:
            EncodeError: it cannot be carried.
        """
        ...

    def decode(self, data: bytes) -> Any:
        """Return the value that ``data`` stands for; never run what a stranger wrote.

        Raises:
            DecodeError: the bytes are not of this content type.
        """
        ...


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
        try:
            return _encode(value).encode("ascii")
        except Exception as error:  # __json__ and subclasses of dict are user code
            raise _blame(value, error) from error

    def decode(self, data: bytes) -> Any:
        """Return the value.

        Raises:
            DecodeError: bad UTF-8, broken JSON, nested too deeply, or a typed value that is unknown or broken.
        """
        try:
            text = data.decode("utf-8")
            return _decode_typed(text) if _TYPE in text else _decode_plain(text)
        except RecursionError:
            raise DecodeError("the JSON cannot be read: it is nested too deeply") from None
        except ValueError as error:
            raise DecodeError(f"the JSON cannot be read: {error}") from error


class Codecs:
    """The codecs of an App by content type; the first one given encodes.

    Attributes:
        default: encodes.
    """

    def __init__(self, default: Codec | None = None) -> None:
        """Know ``default`` (JSON if not given), and JSON in any case: results and Celery's own messages are JSON."""
        self.default: Codec = JsonCodec() if default is None else default
        self._by_type: dict[str, Codec] = {self.default.content_type: self.default}
        if self.default.content_type != JSON:
            self.register(JsonCodec())

    @property
    def accepted(self) -> tuple[str, ...]:
        """The content types that can be decoded."""
        return tuple(self._by_type)

    @property
    def json(self) -> Codec:
        """The codec of ``application/json``."""
        return self._by_type[JSON]

    def register(self, codec: Codec) -> None:
        """Decode ``codec``'s content type with it.

        Raises:
            ConfigurationError: another codec has that content type.
        """
        if self._by_type.setdefault(codec.content_type, codec) is not codec:
            raise ConfigurationError(f"content type {codec.content_type!r} has a codec already")

    def encode(self, value: Any) -> tuple[bytes, str, str]:
        """Return ``value`` as bytes, their content type and content encoding.

        Raises:
            EncodeError: the default codec cannot carry it.
        """
        codec = self.default
        return codec.encode(value), codec.content_type, codec.content_encoding

    def decode(self, data: bytes, content_type: str, content_encoding: str = "utf-8") -> Any:
        """Return the value that ``data`` stands for.

        Args:
            data: the bytes.
            content_type: MIME type; its case and parameters (``; charset=utf-8``) do not matter.
            content_encoding: the codec's own; UTF-8, ASCII, ``binary`` and nothing are always taken.

        Raises:
            DecodeError: no codec has that content type or encoding, or the codec cannot read the bytes.
        """
        codec = self._by_type.get(content_type) or self._find(content_type)
        if content_encoding != codec.content_encoding and content_encoding.lower() not in {
            *_AS_IT_IS,
            codec.content_encoding.lower(),
        }:
            raise DecodeError(
                f"content encoding {content_encoding[:80]!r} is not accepted; {codec.content_type} is read as "
                f"{codec.content_encoding}"
            )
        return codec.decode(data)

    def _find(self, content_type: str) -> Codec:
        codec = self._by_type.get(content_type.partition(";")[0].strip().lower())
        if codec is None:
            accepted = ", ".join(self._by_type)
            raise DecodeError(f"content type {content_type[:80]!r} is not accepted; accepted are {accepted}")
        return codec


class _UncarriableError(TypeError):
    """JSON has no form for a value; the text says what to pass instead."""


def _default(value: Any) -> Any:
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
    raise _UncarriableError(f"type {_name(value)} cannot be carried as {JSON}; {_advice(value)}")


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


def _revive(table: dict[str, Any]) -> Any:
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


_encode = json.JSONEncoder(default=_default).encode
_decode_plain = json.JSONDecoder().decode
_decode_typed = json.JSONDecoder(object_hook=_revive).decode


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
        except _UncarriableError as error:
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
        return "pass its .value"
    if is_dataclass(value):
        return "pass dataclasses.asdict() of it, or give its class a __json__() method"
    return "pass plain data, or give its class a __json__() method"
