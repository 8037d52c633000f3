"""Celery's result JSON: one record of a result store as the bytes that any Celery client reads, and back."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from celeriac.codec import JSON
from celeriac.errors import DecodeError, ProtocolError
from celeriac.protocol.when import aware, parse_when
from celeriac.results import ResultRecord
from celeriac.states import FINAL
from celeriac.transport_helpers import OWN_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_quoted = json.encoder.encode_basestring_ascii
_decoder = json.JSONDecoder()
_HEAD = re.compile(rb'\{("status": "\w+"), "result": ')
_SPACE = re.compile(r"[ \t\n\r]*")


def result_meta(record: ResultRecord) -> bytes:
    """Return ``record`` as Celery's result JSON.

    ``retries`` is the attempt - 1, and null if it was never run; ``history`` is there if there is one. A body that is
    not JSON stands in base64, with its content type under ``celeriac``; Celery's clients ignore keys that they do not
    know.
    """
    done = aware(record.done_at).isoformat() if record.done_at is not None and record.state in FINAL else None
    result, more = record.body, ""
    if record.content_type != JSON:
        kind = {"content_type": record.content_type, "content_encoding": record.content_encoding}
        more = f'"{OWN_HEADER}": {json.dumps(kind)}, '
        result = b'{"__type__": "base64", "__value__": "%b"}' % b64encode(record.body)
    if record.history:
        more += f'"history": {json.dumps([dict(entry) for entry in record.history], default=str)}, '
    tail = (
        f', "traceback": {"null" if record.traceback is None else _quoted(record.traceback)}, "children": [], '
        f'"date_done": {"null" if done is None else _quoted(done)}, {more}'
        f'"retries": {record.attempt - 1 if record.attempt else "null"}, "task_id": {_quoted(record.task_id)}}}'
    )
    return b'{"status": %b, "result": %b%b' % (_quoted(record.state).encode(), result, tail.encode())


def parse_result_meta(data: bytes) -> ResultRecord:
    """Return the record in a result JSON of ours or of Celery's.

    Without ``retries`` (Celery writes it only with ``result_extended``) the attempt is 1. A ``date_done`` without an
    offset is in UTC; one that cannot be read is nothing, as the result counts and not its date.

    Raises:
        DecodeError: it is not JSON, or ``status`` or ``task_id`` is missing.
    """
    try:
        body, meta = _parts(data)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"a result cannot be read: {error}") from error
    if not isinstance(meta, dict):
        raise DecodeError(f"a result cannot be read: {meta!r:.80} is no object")
    for name in ("task_id", "status"):
        if not isinstance(meta.get(name), str):
            raise DecodeError(f"a result cannot be read: its {name!r} is {meta.get(name)!r:.80}")
    body, content_type, content_encoding = _body(meta, body)
    traceback = meta.get("traceback")
    return ResultRecord(
        task_id=meta["task_id"],
        attempt=_attempt(meta.get("retries", 0)),
        state=meta["status"],
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        traceback=traceback if isinstance(traceback, str) else None,
        done_at=_done(meta.get("date_done")),
        history=_history(meta.get("history")),
    )


def _parts(data: bytes) -> tuple[bytes | None, Any]:
    """Return the result as it stands, to the byte, where it stands second, as we and Celery write it; and all."""
    head = _HEAD.match(data)
    if head is None:
        return None, json.loads(data)
    text = data[head.end() :].decode("utf-8")
    result, end = _decoder.raw_decode(text, _space(text, 0))
    end = _space(text, end)
    meta = json.loads(f"{{{head[1].decode()}{text[end:]}")
    return text[:end].encode("utf-8"), {**meta, "result": result}


def _space(text: str, start: int) -> int:
    """Return where the white space at ``start`` ends."""
    return _SPACE.match(text, start).end()  # type: ignore[union-attr] # it matches nothing, too


def _body(meta: dict[str, Any], body: bytes | None) -> tuple[bytes, str, str]:
    """Return the result's bytes, content type and content encoding."""
    kind = meta.get(OWN_HEADER)
    if not isinstance(kind, dict):
        return json.dumps(meta.get("result")).encode("ascii") if body is None else body, JSON, "utf-8"
    try:
        return b64decode(meta["result"]["__value__"], validate=True), kind["content_type"], kind["content_encoding"]
    except (LookupError, TypeError, ValueError) as error:
        raise DecodeError(f"a result cannot be read: it is no base64 with a content type: {error!r}") from error


def _history(value: object) -> tuple[Mapping[str, Any], ...]:
    return tuple(entry for entry in value if isinstance(entry, dict)) if isinstance(value, list) else ()


def _attempt(retries: object) -> int:
    if retries is None:
        return 0
    return retries + 1 if type(retries) is int and retries >= 0 else 1


def _done(value: object) -> datetime | None:
    try:
        return None if value is None else parse_when(value)
    except ProtocolError:
        return None
