"""AMQP 0-9-1 field tables: message headers to bytes and back. Pure.

RabbitMQ's type codes (https://www.rabbitmq.com/amqp-0-9-1-errata, section 3), which py-amqp and pika read too. Written
are only ``S`` str, ``x`` bytes, ``I`` and ``l`` int, ``d`` float, ``t`` bool, ``V`` None, ``F`` mapping, ``A`` list;
everything that RabbitMQ knows is read. pika's own codec is not used: it refuses floats and truncates those it reads.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_LENGTH = struct.Struct(">I")
_STRING = struct.Struct(">cI")
_INT32 = struct.Struct(">ci")
_INT64 = struct.Struct(">cq")
_DOUBLE = struct.Struct(">cd")
_TIMESTAMP_LIMIT = 253402300799  # the last second of the year 9999
MAX_SHORT = 255
TEXT, NOTHING = b"SV"


def encode_short(text: str, what: str) -> bytes:
    """Return a short string: one byte of length, then UTF-8.

    Raises:
        ConfigurationError: longer than 255 bytes; ``what`` names it.
    """
    data = text.encode("utf-8", "surrogateescape")
    if len(data) > MAX_SHORT:
        raise ConfigurationError(f"{what} {text[:40]!r}... has {len(data)} bytes; AMQP takes 255")
    return bytes((len(data),)) + data


def encode_table(table: Mapping[str, Any]) -> bytes:
    """Return ``table`` as its length and its fields.

    Raises:
        ConfigurationError: a value of a type that headers do not have, or an integer beyond 64 bits.
    """
    payload = b"".join([_encode_name(name) + _encode(value, name) for name, value in table.items()])
    return _LENGTH.pack(len(payload)) + payload


@lru_cache(maxsize=512)
def _encode_name(name: str) -> bytes:
    return encode_short(name, "header name")


def _encode(value: Any, name: str) -> bytes:
    if value is None:
        return b"V"
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        return _STRING.pack(b"S", len(data)) + data
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, int):
        return _encode_int(value, name)
    if isinstance(value, float):
        return _DOUBLE.pack(b"d", value)
    if isinstance(value, bytes | bytearray):
        return _STRING.pack(b"x", len(value)) + value
    if isinstance(value, Mapping):
        return b"F" + encode_table(value)
    if isinstance(value, list | tuple):
        payload = b"".join([_encode(item, name) for item in value])
        return _STRING.pack(b"A", len(payload)) + payload
    raise ConfigurationError(f"header {name!r} has a value of type {type(value).__name__}, which headers cannot carry")


def _encode_int(value: int, name: str) -> bytes:
    if -0x80000000 <= value <= 0x7FFFFFFF:  # noqa: PLR2004 - the bounds of 32 bits
        return _INT32.pack(b"I", value)
    try:
        return _INT64.pack(b"l", value)
    except struct.error:
        raise ConfigurationError(f"header {name!r} is an integer beyond 64 bits") from None


def decode_short(data: bytes, at: int) -> tuple[str, int]:
    """Return the short string at ``at``, and where it ends."""
    end = at + 1 + data[at]
    if end > len(data):
        raise ValueError("short string beyond the end")
    return data[at + 1 : end].decode("utf-8", "surrogateescape"), end


def decode_table(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    """Return the table at ``at``, and where it ends.

    Raises:
        ValueError, IndexError, struct.error: it is malformed.
    """
    end = at + 4 + _LENGTH.unpack_from(data, at)[0]
    if end > len(data):
        raise ValueError("table beyond the end")
    at += 4
    table: dict[str, Any] = {}
    while at < end:
        code_at = at + 1 + data[at]
        name = data[at + 1 : code_at].decode("utf-8", "surrogateescape")
        if data[code_at] == NOTHING:  # here, for a task message has many of them
            table[name], at = None, code_at + 1
        else:
            table[name], at = _decode(data, code_at)
    return table, at


def _decode(data: bytes, at: int) -> tuple[Any, int]:
    code = data[at]
    if code == TEXT:
        end = at + 5 + _LENGTH.unpack_from(data, at + 1)[0]
        if end > len(data):
            raise ValueError("field beyond the end")
        raw = data[at + 5 : end]
        try:
            return raw.decode(), end
        except UnicodeDecodeError:
            return raw, end
    fixed = _FIXED.get(code)
    if fixed is not None:
        return fixed[1](*fixed[0].unpack_from(data, at + 1)), at + 1 + fixed[0].size
    other = _OTHER.get(code)
    if other is None:
        raise ValueError(f"unknown field type {chr(code)!r}")
    return other(data, at + 1)


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4 + _LENGTH.unpack_from(data, at)[0]
    if end > len(data):
        raise ValueError("field beyond the end")
    return data[at + 4 : end], end


def _array(data: bytes, at: int) -> tuple[list[Any], int]:
    end = at + 4 + _LENGTH.unpack_from(data, at)[0]
    if end > len(data):
        raise ValueError("array beyond the end")
    at += 4
    items: list[Any] = []
    while at < end:
        item, at = _decode(data, at)
        items.append(item)
    return items, at


def _void(_data: bytes, at: int) -> tuple[None, int]:
    return None, at


def _timestamp(seconds: int) -> datetime | int:
    return datetime.fromtimestamp(seconds, UTC) if seconds <= _TIMESTAMP_LIMIT else seconds


def _decimal(places: int, digits: int) -> Decimal:
    return Decimal(digits).scaleb(-places)


_FIXED: dict[int, tuple[struct.Struct, Callable[..., Any]]] = {
    ord(code): (struct.Struct(">" + layout), convert)
    for code, layout, convert in (
        ("t", "B", bool),
        ("b", "b", int),
        ("B", "B", int),
        ("s", "h", int),
        ("U", "h", int),
        ("u", "H", int),
        ("I", "i", int),
        ("i", "I", int),
        ("l", "q", int),
        ("L", "q", int),
        ("f", "f", float),
        ("d", "d", float),
        ("D", "Bi", _decimal),
        ("T", "Q", _timestamp),
    )
}
_OTHER: dict[int, Callable[[bytes, int], tuple[Any, int]]] = {
    ord("x"): _bytes,
    ord("A"): _array,
    ord("F"): decode_table,
    ord("V"): _void,
}
