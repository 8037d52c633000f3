"""The values between a worker and its children, as plain tuples that can be marshalled, and back."""

from __future__ import annotations

import contextlib
import marshal
from dataclasses import asdict, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac import errors
from celeriac.errors import CeleriacError, TransportError
from celeriac.message import Message, Receipt
from celeriac.message import Outcome as Sent
from celeriac.protocol import ErrorData, Packed
from celeriac.worker.executors.frames import marshalled
from celeriac.worker.job import (
    Assignment,
    Cancelled,
    Expired,
    Failed,
    Ignored,
    Refused,
    Rejected,
    Retried,
    Snoozed,
    Succeeded,
    Told,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SUCCEEDED, _FAILED, _RETRIED, _OTHER = range(4)
_OTHERS: dict[str, type[Ignored | Snoozed | Refused | Rejected | Expired | Cancelled]] = {
    kind.__name__: kind for kind in (Ignored, Snoozed, Refused, Rejected, Expired, Cancelled)
}
_MESSAGE = tuple(each.name for each in fields(Message))


def pack_assignment(assignment: Assignment) -> bytes:
    """Return an assignment, marshalled."""
    values: tuple[Any, ...] = (
        assignment.seq,
        assignment.task,
        assignment.body,
        assignment.content_type,
        assignment.content_encoding,
        assignment.compression,
        assignment.signature,
        assignment.soft_limit,
        assignment.request,
    )
    return marshalled(values)


def unpack_assignment(data: bytes) -> Assignment:
    """Return the assignment that was packed."""
    values = marshal.loads(data)  # noqa: S302 - written by the worker itself
    seq, task, body, content_type, content_encoding, compression, signature, soft_limit, request = values
    return Assignment(
        seq=seq,
        task=task,
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        compression=compression,
        signature=signature,
        soft_limit=soft_limit,
        request=request,
    )


def outcome_to_wire(outcome: Told) -> tuple[Any, ...]:
    """Return what became of a task, as a tuple."""
    match outcome:
        case Succeeded(body=body, content_type=kind, content_encoding=encoding, shown=shown, seconds=seconds):
            return (_SUCCEEDED, body, kind, encoding, shown, seconds)
        case Failed(error=error, traceback=traceback, seconds=seconds, exhausted=exhausted):
            return (_FAILED, *_error_to_wire(error), traceback, seconds, exhausted)
        case Retried(error=error, traceback=traceback, delay=delay, seconds=seconds, packed=packed):
            other = None if packed is None else tuple(packed)
            return (_RETRIED, *_error_to_wire(error), traceback, delay, seconds, other, outcome.signature)
        case Ignored() | Snoozed() | Refused() | Rejected() | Expired() | Cancelled():
            return (_OTHER, type(outcome).__name__, asdict(outcome))


def outcome_from_wire(values: Sequence[Any]) -> Told:
    """Return the outcome that `outcome_to_wire` described."""
    if values[0] == _SUCCEEDED:
        _, body, kind, encoding, shown, seconds = values
        return Succeeded(body=body, content_type=kind, content_encoding=encoding, shown=shown, seconds=seconds)
    if values[0] == _OTHER:
        return _OTHERS[values[1]](**values[2])
    error = ErrorData(type=values[1], module=values[2], mro=values[3], args=values[4], message=values[5])
    if values[0] == _FAILED:
        return Failed(error=error, traceback=values[6], seconds=values[7], exhausted=values[8])
    traceback, delay, seconds, other, signature = values[6:]
    packed = None if other is None else Packed(*other)
    return Retried(error=error, traceback=traceback, delay=delay, seconds=seconds, packed=packed, signature=signature)


def _error_to_wire(error: ErrorData) -> tuple[Any, ...]:
    return (error.type, error.module, error.mro, error.args, error.message)


def messages_to_wire(messages: Iterable[Message]) -> list[tuple[Any, ...]]:
    """Return messages as tuples, in the order of their fields."""
    return [tuple(getattr(message, name) for name in _MESSAGE) for message in messages]


def messages_from_wire(values: Iterable[Sequence[Any]]) -> list[Message]:
    """Return the messages that `messages_to_wire` described."""
    messages = []
    for each in values:
        named = dict(zip(_MESSAGE, each, strict=True))
        if named["not_before"] is not None:
            named["not_before"] = datetime.fromisoformat(named["not_before"])
        messages.append(Message(**named))
    return messages


def receipts_to_wire(receipts: Iterable[Receipt]) -> list[tuple[str, str]]:
    """Return receipts as tuples."""
    return [(receipt.outcome.value, receipt.detail) for receipt in receipts]


def receipts_from_wire(values: Iterable[tuple[str, str]]) -> list[Receipt]:
    """Return the receipts that `receipts_to_wire` described."""
    return [Receipt(Sent(outcome), detail) for outcome, detail in values]


def error_from_wire(name: str, text: str) -> CeleriacError:
    """Return the error of that class; a `TransportError` that names it where the class is not ours."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, CeleriacError):
        with contextlib.suppress(TypeError):  # a class that is built from more than a text
            return kind(text)
    return TransportError(f"{name}: {text}")
