"""A `Message` as the JSON text that kombu keeps in Redis, and back. Pure.

Writing: ``properties`` stand first and the delivery tag first among them, because scripts put it there. ``priority`` is
always 0, which kombu puts into the list that every client knows; our own priority stands beside it. Values that JSON
lacks are written as kombu writes them: ``{"__type__": "bytes", "__value__": "..."}``.

Reading takes anything: what is missing is empty, and what is no envelope at all is the body of a message without
headers, for others to set aside.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.errors import Unsupported
from celeriac.message import Message
from celeriac.topology import PRIORITY_LEVELS

if TYPE_CHECKING:
    from datetime import datetime

TYPE, VALUE = "__type__", "__value__"
EXTENDED = {TYPE, VALUE}
AS_BYTES = ("bytes", "base64")  # no set: what is compared with it may be anything
OWN_PROPERTY = "celeriac"
REDELIVERED = "redelivered"
_RETURNED = re.compile(rb'^{"celeriac-returns": ?\[(\d+), ?(\d+)\],')


@dataclass(frozen=True, slots=True)
class Received:
    """What an envelope says.

    Attributes:
        message: what was published.
        deliveries: hand-overs before this one that count.
        returns: how often it came back.
        redelivered: it was handed over before.
        at: when it was published or due, in seconds; ``None`` if it does not say.
    """

    message: Message
    deliveries: int = 0
    returns: int = 0
    redelivered: bool = False
    at: float | None = None


def encode(message: Message, now: datetime) -> str:
    """Return the envelope of ``message``, without what scripts write: ``{"properties":{"delivery_tag":"..."``.

    Raises:
        Unsupported: a header that no broker carries.
    """
    moment = now if message.not_before is None or message.not_before < now else message.not_before
    own: dict[str, Any] = {"at": moment.timestamp()}
    if message.priority:
        own["priority"] = message.priority
    if message.id != message.headers.get("id"):
        own["id"] = message.id
    properties: dict[str, Any] = {
        "delivery_info": {"exchange": message.exchange, "routing_key": message.routing_key},
        "delivery_mode": 2,
        "priority": 0,
        "body_encoding": "base64",
        OWN_PROPERTY: own,
    }
    if message.correlation_id is not None:
        properties["correlation_id"] = message.correlation_id
    if message.reply_to is not None:
        properties["reply_to"] = message.reply_to
    rest = {
        "headers": message.headers,
        "content-type": message.content_type,
        "content-encoding": message.content_encoding,
        "body": b64encode(message.body).decode("ascii"),
    }
    return f",{_dump(properties)[1:]},{_dump(rest)[1:]}"


def decode(envelope: bytes, levels: int) -> Received:
    """Return what ``envelope`` says.

    Args:
        envelope: as it stood in its list.
        levels: how many priorities its queue keeps; a foreign one beyond them means nothing there, and is cut.
    """
    try:
        read = json.loads(envelope)
        headers = _plain(_table(read.get("headers"))) if isinstance(read, dict) else {}
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        return Received(Message(id="", body=envelope))
    properties = _table(read.get("properties"))
    info = _table(properties.get("delivery_info"))
    own = _table(properties.get(OWN_PROPERTY))
    redelivered = info.get(REDELIVERED) is True
    if redelivered:
        headers.pop(REDELIVERED, None)  # kombu's restore writes it here too
    returned = _RETURNED.match(envelope)
    priority = own.get("priority", 0)
    message = Message(
        id=_text(own.get("id")) or _text(headers.get("id")) or _text(properties.get("correlation_id")),
        exchange=_text(info.get("exchange")),
        routing_key=_text(info.get("routing_key")),
        body=_body(read.get("body"), properties.get("body_encoding")),
        content_type=_text(read.get("content-type")),
        content_encoding=_text(read.get("content-encoding")),
        headers=headers,
        priority=max(0, min(priority, levels - 1, PRIORITY_LEVELS - 1)) if type(priority) is int else 0,
        correlation_id=_optional(properties.get("correlation_id")),
        reply_to=_optional(properties.get("reply_to")),
    )
    at = own.get("at")
    return Received(
        message,
        deliveries=int(returned[1]) if returned else 0,
        returns=int(returned[2]) if returned else 0,
        redelivered=redelivered or returned is not None,
        at=at if isinstance(at, float) else None,
    )


def restored(envelope: Mapping[str, Any]) -> str:
    """Return an envelope as kombu's restore gives it back: marked as redelivered, if it is one at all."""
    headers, info = envelope.get("headers"), _table(envelope.get("properties")).get("delivery_info")
    marked = dict(envelope)
    if isinstance(headers, dict):
        marked["headers"] = {**headers, REDELIVERED: True}
    if isinstance(info, dict):
        marked["properties"] = {**envelope["properties"], "delivery_info": {**info, REDELIVERED: True}}
    return json.dumps(marked)


def _dump(value: Any) -> str:
    try:
        try:
            text = json.dumps(value, separators=(",", ":"))
        except TypeError:
            text = TYPE  # not plain JSON: write what is not as kombu does
        return json.dumps(_extended(value), separators=(",", ":")) if TYPE in text else text
    except RecursionError:
        raise Unsupported("headers are nested too deeply") from None


def _extended(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        try:
            return {TYPE: "bytes", VALUE: value.decode("utf-8")}
        except UnicodeDecodeError:
            return {TYPE: "base64", VALUE: b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        if value.keys() == EXTENDED and value[TYPE] in AS_BYTES:
            raise Unsupported(f"a header table of {TYPE} and {VALUE} means bytes on Redis; give it another key")
        return {str(key): _extended(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_extended(item) for item in value]
    raise Unsupported(f"a header cannot hold a {type(value).__name__}")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == EXTENDED and isinstance(text := value[VALUE], str):
        if value[TYPE] == "bytes":
            return text.encode("utf-8", "surrogatepass")
        if value[TYPE] == "base64":
            return _body(text, "base64")
    return {key: _plain(item) for key, item in value.items()}


def _body(text: object, encoding: object) -> bytes:
    if not isinstance(text, str):
        return b""
    if encoding == "base64":
        try:
            return b64decode(text, validate=True)
        except ValueError:
            pass  # it says what is not so: hand it on as it is
    return text.encode("utf-8", "surrogatepass")


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _optional(value: object) -> str | None:
    return value if isinstance(value, str) else None
