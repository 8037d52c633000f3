"""The values between a worker and its children, as plain tuples that can be marshalled, and back."""

from __future__ import annotations

import contextlib
import marshal
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac import errors
from celeriac.errors import CeleriacError, TransportError
from celeriac.message import Message, Receipt
from celeriac.message import Outcome as Sent
from celeriac.protocol import ErrorData
from celeriac.worker.executors.frames import marshalled
from celeriac.worker.job import Assignment, Failed, Outcome, Rejected, Succeeded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SUCCEEDED, _FAILED, _REJECTED = range(3)
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
        assignment.request,
    )
    return marshalled(values)


def unpack_assignment(data: bytes) -> Assignment:
    """Return the assignment that was packed."""
    values = marshal.loads(data)  # noqa: S302 - written by the worker itself
    seq, task, body, content_type, content_encoding, compression, request = values
    return Assignment(
        seq=seq,
        task=task,
        body=body,
        content_type=content_type,
        content_encoding=content_encoding,
        compression=compression,
        request=request,
    )


def outcome_to_wire(outcome: Outcome) -> tuple[Any, ...]:
    """Return what became of a task, as a tuple.

    Raises:
        TypeError: only the worker itself may say so of a task.
    """
    match outcome:
        case Succeeded(body=body, content_type=kind, content_encoding=encoding, shown=shown, seconds=seconds):
            return (_SUCCEEDED, body, kind, encoding, shown, seconds)
        case Failed(error=error, traceback=traceback, seconds=seconds):
            return (_FAILED, error.type, error.module, error.mro, error.args, error.message, traceback, seconds)
        case Rejected(reason=reason, detail=detail):
            return (_REJECTED, reason, detail)
    raise TypeError(f"{outcome!r} is not for a child to say")


def outcome_from_wire(values: Sequence[Any]) -> Succeeded | Failed | Rejected:
    """Return the outcome that `outcome_to_wire` described."""
    if values[0] == _SUCCEEDED:
        _, body, kind, encoding, shown, seconds = values
        return Succeeded(body=body, content_type=kind, content_encoding=encoding, shown=shown, seconds=seconds)
    if values[0] == _FAILED:
        _, kind, module, mro, args, message, traceback, seconds = values
        error = ErrorData(type=kind, module=module, mro=mro, args=args, message=message)
        return Failed(error=error, traceback=traceback, seconds=seconds)
    _, reason, detail = values
    return Rejected(reason=reason, detail=detail)


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
