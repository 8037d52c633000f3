"""What RabbitMQ and pika say, as celeriac's errors.

Reply codes: AMQP 0-9-1, section 1.7, and https://www.rabbitmq.com/amqp-0-9-1-reference#constants.
"""

from __future__ import annotations

import re
from typing import TypeVar

from pika import exceptions

from celeriac.errors import (
    AccessRefused,
    ConnectionLost,
    QueueNotFound,
    TopologyMismatch,
    TransportError,
)

ErrorT = TypeVar("ErrorT", bound=TransportError)
ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406
NOT_ALLOWED = 530
_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']*)' for (?P<what>queue|exchange) '(?P<name>.*)' in vhost '.*': (?P<how>.*)",
    re.DOTALL,
)
_BY_CODE: dict[int, type[TransportError]] = {
    ACCESS_REFUSED: AccessRefused,
    NOT_FOUND: QueueNotFound,
    RESOURCE_LOCKED: TopologyMismatch,
    PRECONDITION_FAILED: TopologyMismatch,
    NOT_ALLOWED: AccessRefused,
}


def reply_code(error: BaseException | None) -> int | None:
    """Return the broker's code, where the broker closed the channel or connection."""
    if isinstance(error, exceptions.ChannelClosedByBroker | exceptions.ConnectionClosedByBroker):
        return int(error.reply_code)
    return None


def channel_error(error: BaseException) -> TransportError:
    """Return what it means that ``error`` ended a channel."""
    if not isinstance(error, exceptions.ChannelClosedByBroker):
        return _caused(ConnectionLost(f"the channel is gone: {_text(error)}"), error)
    found = _INEQUIVALENT.search(error.reply_text)
    if found is not None:
        what, name, argument, how = found.group("what", "name", "argument", "how")
        text = f"{what} {name!r} exists with another {argument}: {how}"
        return _caused(TopologyMismatch(text), error)
    kind = _BY_CODE.get(error.reply_code, TransportError)
    return _caused(kind(error.reply_text), error)


def connection_error(error: BaseException, address: str) -> ConnectionLost:
    """Return what it means that ``error`` ended an open connection to ``address``."""
    return _caused(ConnectionLost(f"the connection to {address} is gone: {_text(error)}"), error)


def open_error(error: BaseException, address: str, user: str, vhost: str) -> TransportError:
    """Return what it means that ``error`` kept us from connecting to ``address``."""
    roots = list(_roots(error))
    text = " ".join(_text(root) for root in roots)
    if any(isinstance(root, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError) for root in roots):
        return _caused(AccessRefused(f"{address} refused the password of user {user!r}"), error)
    if any(isinstance(root, exceptions.ProbableAccessDeniedError) for root in roots):
        missing = "not found" in text
        why = "there is no such virtual host" if missing else "access refused"
        return _caused(AccessRefused(f"{address} refused user {user!r} the virtual host {vhost!r}: {why}"), error)
    return _caused(ConnectionLost(f"cannot connect to {address}: {text}"), error)


def _roots(error: BaseException) -> list[BaseException]:
    """Return the errors inside pika's wrappers of wrappers."""
    inner = getattr(error, "exceptions", None) or [getattr(error, "exception", None)]
    if isinstance(error, exceptions.AMQPConnectionError) and error.args and isinstance(error.args[0], BaseException):
        inner = [error.args[0]]
    found = [root for wrapped in inner if isinstance(wrapped, BaseException) for root in _roots(wrapped)]
    return found or [error]


def _text(error: BaseException) -> str:
    code = reply_code(error)
    if code is not None:
        return f"{code} {getattr(error, 'reply_text', '')}"
    return str(error) or type(error).__name__


def _caused(error: ErrorT, cause: BaseException) -> ErrorT:
    error.__cause__ = cause
    return error
