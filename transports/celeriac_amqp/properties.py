"""A `Message` as AMQP basic properties (AMQP 0-9-1, section 1.8.3), and back. Pure.

Writing: every message is persistent unless asked otherwise, and has no ``expiration``, which would take it out of a
delay tier early. The id goes into ``message_id``, except for a task message in Celery's form, whose header ``id``
holds it already. Where a message is on a detour (a delay, a lease), the exchange and key that it was published with
travel in the header `ROUTE_HEADER`, taken off again on delivery; so is `LEASE_HEADER`, by which a worker knows its own
copy again.

Reading takes anything: what is missing is empty, a malformed header table is no headers.
"""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.errors import MessageTooLarge
from celeriac.message import Message
from celeriac.topology import PRIORITY_LEVELS
from celeriac_amqp.field_table import decode_short, decode_table, encode_short, encode_table

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("celeriac.amqp")

MAX_HEADER_BYTES = 64 * 1024  # a header frame cannot be split: one beyond frame_max closes the connection
ROUTE_HEADER = "x-celeriac-route"
LEASE_HEADER = "x-celeriac-lease"
BROKER_HEADERS = frozenset(
    {
        ROUTE_HEADER,
        LEASE_HEADER,
        "x-death",
        "x-first-death-exchange",
        "x-first-death-queue",
        "x-first-death-reason",
        "x-last-death-exchange",
        "x-last-death-queue",
        "x-last-death-reason",
        "x-delivery-count",
        "x-acquired-count",
    }
)

MALFORMED = (ValueError, IndexError, struct.error, OverflowError, RecursionError)

_CONTENT_TYPE = 1 << 15
_CONTENT_ENCODING = 1 << 14
_HEADERS = 1 << 13
_DELIVERY_MODE = 1 << 12
_PRIORITY = 1 << 11
_CORRELATION_ID = 1 << 10
_REPLY_TO = 1 << 9
_EXPIRATION = 1 << 8
_MESSAGE_ID = 1 << 7
_MORE = 1
_FLAGS = struct.Struct(">H")
_PERSISTENT = b"\x02"
_TRANSIENT = b"\x01"


def encode_properties(
    message: Message,
    *,
    detour: bool = False,
    transient: bool = False,
) -> bytes:
    """Return the properties of ``message`` as they stand in a content header frame.

    Args:
        message: what is published.
        detour: it goes by way of another exchange or queue: let it show its own on delivery.
        transient: need not outlive a restart of the broker.

    Raises:
        MessageTooLarge: the header table exceeds 64 KiB.
        ConfigurationError: a header or an id that AMQP cannot carry.
    """
    flags = _HEADERS | _DELIVERY_MODE | _PRIORITY
    head = b""
    if message.content_type:
        flags |= _CONTENT_TYPE
        head = encode_short(message.content_type, "content type")
    if message.content_encoding:
        flags |= _CONTENT_ENCODING
        head += encode_short(message.content_encoding, "content encoding")
    table = _encode_headers(message, with_route(message) if detour else message.headers)
    pieces = [head, table, _TRANSIENT if transient else _PERSISTENT, bytes((message.priority,))]
    if message.correlation_id is not None:
        flags |= _CORRELATION_ID
        pieces.append(encode_short(message.correlation_id, "correlation id"))
    if message.reply_to is not None:
        flags |= _REPLY_TO
        pieces.append(encode_short(message.reply_to, "reply address"))
    if message.id and message.headers.get("id") != message.id:
        flags |= _MESSAGE_ID
        pieces.append(encode_short(message.id, "message id"))
    return _FLAGS.pack(flags) + b"".join(pieces)


def _encode_headers(message: Message, headers: Mapping[str, Any]) -> bytes:
    table = encode_table(headers)
    if len(table) > MAX_HEADER_BYTES:
        raise MessageTooLarge(f"the headers of message {message.id!r} have {len(table)} bytes; 65536 are taken")
    return table


def with_route(message: Message) -> Mapping[str, Any]:
    """Return the headers of ``message``, its exchange and key among them unless an earlier detour wrote them."""
    return {ROUTE_HEADER: [message.exchange, message.routing_key], **message.headers}


@dataclass(slots=True)
class Properties:
    """What was read from a content header frame; what is missing is empty."""

    content_type: str = ""
    content_encoding: str = ""
    headers: dict[str, Any] | None = None
    priority: int = 0
    correlation_id: str | None = None
    reply_to: str | None = None
    message_id: str | None = None

    @property
    def id(self) -> str:
        """The message's id: its property, else Celery's header, else what it is correlated with."""
        if self.message_id:
            return self.message_id
        in_header = self.headers.get("id") if self.headers else None
        return in_header if isinstance(in_header, str) else self.correlation_id or ""

    @property
    def returns(self) -> int | None:
        """How often a quorum queue says that it came back, for whatever reason; ``None`` where it does not say."""
        count = self.headers.get("x-delivery-count") if self.headers else None
        return count if type(count) is int else None


def decode_properties(data: bytes) -> Properties:
    """Return what stands in ``data``; what follows a malformed part is taken as missing, and logged."""
    found = Properties()
    try:
        _read(data, found)
    except MALFORMED as error:
        logger.warning("a message with malformed properties: %s", error)
    return found


def _read_headers(data: bytes, at: int) -> tuple[dict[str, Any] | None, int]:
    end = at + 4 + int.from_bytes(data[at : at + 4], "big")
    try:
        return decode_table(data, at)[0], end
    except MALFORMED as error:
        logger.warning("a message with malformed headers, taken without them: %s", error)
        return None, end


def _read(data: bytes, found: Properties) -> None:
    flags, at = _FLAGS.unpack_from(data)[0], 2
    more = flags
    while more & _MORE:
        more, at = _FLAGS.unpack_from(data, at)[0], at + 2
    if flags & _CONTENT_TYPE:
        found.content_type, at = decode_short(data, at)
    if flags & _CONTENT_ENCODING:
        found.content_encoding, at = decode_short(data, at)
    if flags & _HEADERS:
        found.headers, at = _read_headers(data, at)
    _read_rest(data, at, flags, found)


def _read_rest(data: bytes, at: int, flags: int, found: Properties) -> None:
    if flags & _DELIVERY_MODE:
        at += 1
    if flags & _PRIORITY:
        found.priority, at = data[at], at + 1
    if flags & _CORRELATION_ID:
        found.correlation_id, at = decode_short(data, at)
    if flags & _REPLY_TO:
        found.reply_to, at = decode_short(data, at)
    if flags & _EXPIRATION:
        _, at = decode_short(data, at)
    if flags & _MESSAGE_ID:
        found.message_id, _ = decode_short(data, at)


def to_message(found: Properties, exchange: str, routing_key: str, body: bytes, levels: int) -> Message:
    """Return the message that was delivered.

    Args:
        found: its properties.
        exchange: where it was published, by the broker's account.
        routing_key: what it was published with.
        body: its content.
        levels: how many priorities its queue keeps; a foreign one beyond them means nothing there, and is cut.
    """
    headers = found.headers or {}
    route = headers.get(ROUTE_HEADER)
    if isinstance(route, list) and len(route) == 2:  # noqa: PLR2004 - exchange and key
        exchange, routing_key = map(str, route)
    if not BROKER_HEADERS.isdisjoint(headers):
        headers = {name: value for name, value in headers.items() if name not in BROKER_HEADERS}
    return Message(
        id=found.id,
        exchange=exchange,
        routing_key=routing_key,
        body=body,
        content_type=found.content_type,
        content_encoding=found.content_encoding,
        headers=headers,
        priority=min(found.priority, levels - 1, PRIORITY_LEVELS - 1),
        correlation_id=found.correlation_id,
        reply_to=found.reply_to,
    )
