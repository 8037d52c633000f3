"""Making task messages: the first one, and copies of one that came."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from celeriac.codec import carries_code
from celeriac.errors import ConfigurationError, EncodeError, MessageTooLarge
from celeriac.json_codec import JsonCodec
from celeriac.message import Message
from celeriac.protocol.compression import MAX_BODY_BYTES, compress
from celeriac.protocol.header import RESERVED
from celeriac.protocol.own import PLAIN
from celeriac.protocol.when import aware
from celeriac.saferepr import saferepr
from celeriac.signing import TaskPlace
from celeriac.topology import DEFAULT_EXCHANGE
from celeriac.transport_helpers import OWN_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from celeriac.codec import Codecs
    from celeriac.converters import CallTypes
    from celeriac.protocol.header import TimeLimit
    from celeriac.protocol.own import OwnTable

_NO_WORKFLOW = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class Packed(NamedTuple):
    """The body of a task message, and how it is to be read.

    Attributes:
        body: the bytes.
        content_type: of the body.
        content_encoding: of the body.
        compression: MIME type of its compression; empty if it has none.
        is_code: it can run code, and must be signed.
    """

    body: bytes
    content_type: str
    content_encoding: str
    compression: str = ""
    is_code: bool = False

    def signature(self, codecs: Codecs, *, task: str, id: str, queue: str, expires: str) -> str | None:  # noqa: A002  the header's name
        """Return its signature for one place; ``None`` if it needs none."""
        if not self.is_code:
            return None
        place = TaskPlace(task, id, queue, expires, self.content_type, self.content_encoding, self.compression)
        return codecs.signer.sign_task(place, self.body)


def task_message(
    *,
    id: str,  # noqa: A002  the header's name
    task: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    codecs: Codecs,
    exchange: str,
    routing_key: str,
    origin: str,
    priority: int = 0,
    eta: datetime | None = None,
    expires: datetime | None = None,
    retries: int = 0,
    root_id: str | None = None,
    parent_id: str | None = None,
    group: str | None = None,
    group_index: int | None = None,
    ignore_result: bool = False,
    timelimit: TimeLimit = (None, None),
    headers: Mapping[str, Any] | None = None,
    reply_to: str | None = None,
    not_before: datetime | None = None,
    shadow: str | None = None,
    own: OwnTable = PLAIN,
    types: CallTypes | None = None,
    serializer: str | None = None,
    compression: str | None = None,
) -> Message:
    """Return the message that asks for one run of a task, as a Celery client would send it.

    Args:
        id: the task's id, and the message's.
        task: the task's name.
        args: positional arguments.
        kwargs: keyword arguments.
        codecs: encode the body.
        exchange: where it is published.
        routing_key: what the exchange routes by.
        origin: who sends it, for people: ``gen<pid>@<host>``.
        priority: 0 to 9, higher is sooner.
        eta: not to be run before, for a Celery worker to keep; without an offset it is UTC.
        expires: not to be run after; by the same rule.
        retries: how often it was retried.
        root_id: the first task of its workflow; by default itself.
        parent_id: the task that sends it.
        group: the group it is a member of.
        group_index: its place in the group, from 0.
        ignore_result: no result is wanted.
        timelimit: seconds, hard and soft.
        headers: further headers, which the task finds in its request.
        reply_to: where the result is to be sent.
        not_before: not to be delivered before, for the broker to keep.
        shadow: the name to show instead of ``task``.
        own: counters and history; not sent while there are none.
        types: what the task's annotations say of its arguments.
        serializer: encodes the body, by name or content type; by default the first of ``codecs``.
        compression: MIME type of the body's compression.

    Raises:
        ValidationError: an argument is not what its annotation says.
        EncodeError: names the argument that cannot be carried, and what to pass instead.
        ConfigurationError: ``headers`` has a name that the protocol uses; or the body can run code, and goes to an
            exchange: it is signed for one queue.
    """
    packed = pack(codecs, args, kwargs, types, serializer, compression)
    table: dict[str, Any] = {
        "lang": "py",
        "task": task,
        "id": id,
        "shadow": shadow,
        "eta": None if eta is None else aware(eta).isoformat(),
        "expires": None if expires is None else aware(expires).isoformat(),
        "group": group,
        "group_index": group_index,
        "retries": retries,
        "timelimit": list(timelimit),
        "root_id": root_id or id,
        "parent_id": parent_id,
        "argsrepr": saferepr(args) if args else "()",
        "kwargsrepr": saferepr(kwargs) if kwargs else "{}",
        "origin": origin,
        "ignore_result": ignore_result,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    if headers:
        table |= _allowed(headers)
    if packed.compression:
        table["compression"] = packed.compression
    if packed.is_code:
        own = _signed(own, packed, codecs, task, id, exchange, routing_key, table["expires"] or "")
    if own is not PLAIN and own != PLAIN:
        table[OWN_HEADER] = own.to_header()
    return Message(
        id=id,
        exchange=exchange,
        routing_key=routing_key,
        body=packed.body,
        content_type=packed.content_type,
        content_encoding=packed.content_encoding,
        headers=table,
        priority=priority,
        not_before=not_before,
        correlation_id=id,
        reply_to=reply_to,
    )


def resend(message: Message, *, own: OwnTable, queue: str, not_before: datetime | None = None) -> Message:
    """Return the same task message again: straight to ``queue``, with the table ``own``, due at ``not_before``.

    What else stands in the old table is kept, but for the reasons of a dead letter: it is none any more.
    """
    old = message.headers.get(OWN_HEADER)
    rest = {name: value for name, value in old.items() if name != "dead"} if isinstance(old, dict) else {}
    return replace(
        message,
        exchange=DEFAULT_EXCHANGE,
        routing_key=queue,
        headers={**message.headers, OWN_HEADER: {**rest, **own.to_header()}},
        not_before=not_before,
        mandatory=True,
    )


def retried(
    message: Message, *, own: OwnTable, queue: str, not_before: datetime, retries: int, packed: Packed | None = None
) -> Message:
    """Return the message of the next attempt: due at ``not_before``, ``retries`` counted, perhaps with another body.

    ``eta`` says so too, for a Celery worker that shares the queue.
    """
    copy = resend(message, own=own, queue=queue, not_before=not_before)
    headers = {**copy.headers, "retries": retries, "eta": aware(not_before).isoformat()}
    if packed is None:
        return replace(copy, headers=headers)
    headers.pop("compression", None)
    if packed.compression:
        headers["compression"] = packed.compression
    return replace(
        copy,
        headers=headers,
        body=packed.body,
        content_type=packed.content_type,
        content_encoding=packed.content_encoding,
    )


def pack(
    codecs: Codecs,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    types: CallTypes | None = None,
    serializer: str | None = None,
    compression: str | None = None,
) -> Packed:
    """Return a body, encoded and compressed; the arguments are as in `task_message`.

    Raises:
        ValidationError: an argument is not what its annotation says.
        EncodeError: names the argument that cannot be carried.
        MessageTooLarge: no worker would decompress so much.
    """
    codec = codecs.encoder(serializer)
    is_code = codec is not codecs.json and carries_code(codec)
    if types is not None:
        plain = types.dump(args, kwargs)
        if not is_code:
            args, kwargs = plain
    # a codec knows lists and dicts, and not every sequence and mapping
    args = args if type(args) is list else tuple(args)
    kwargs = kwargs if type(kwargs) is dict else dict(kwargs)
    try:
        if type(codec) is JsonCodec:
            body = codec.encode_call(args, kwargs)
        else:
            body = codec.encode([list(args), kwargs, _NO_WORKFLOW])
    except EncodeError as error:
        if not error.path:
            raise
        part, *path = error.path
        raise EncodeError(error.problem, root=("args", "kwargs")[part], path=path) from error
    if not compression:
        return Packed(body, codec.content_type, codec.content_encoding, "", is_code)
    if len(body) > MAX_BODY_BYTES:
        raise MessageTooLarge(f"the arguments take {len(body)} bytes; compressed ones have {MAX_BODY_BYTES} at most")
    return Packed(compress(body, compression), codec.content_type, codec.content_encoding, compression, is_code)


def _signed(
    own: OwnTable, packed: Packed, codecs: Codecs, task: str, task_id: str, exchange: str, queue: str, expires: str
) -> OwnTable:
    if exchange != DEFAULT_EXCHANGE:
        raise ConfigurationError(
            f"{task}: {packed.content_type} is signed for one queue, and an exchange may lead to others; give queue="
        )
    return replace(own, signature=packed.signature(codecs, task=task, id=task_id, queue=queue, expires=expires))


def _allowed(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in headers:
        if not isinstance(name, str):
            raise ConfigurationError(f"the header {name!r} has a name that is no text")
        if name in RESERVED:
            raise ConfigurationError(f"the header {name!r} belongs to the task protocol; give yours another name")
    return headers
