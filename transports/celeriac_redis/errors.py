"""What Redis and redis-py say, as celeriac's errors.

Error prefixes: https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors, and the server's own texts.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis import exceptions

from celeriac.errors import AccessRefused, ConfigurationError, ConnectionLost, MessageTooLarge, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSALS = (
    exceptions.AuthenticationError,
    exceptions.AuthenticationWrongNumberOfArgsError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
)
NOT_NOW = (
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "READONLY",
    "UNBLOCKED",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "BUSY ",
)
WRONG_TYPE = "WRONGTYPE"
OF_ANOTHER_TYPE = (
    "a key under our prefix has another type; remove it, or give our keys a prefix of their own (?prefix=)"
)
FULL = "OOM"
UNKNOWN_SIGNER = ("self-signed certificate", "self signed certificate", "unable to get local issuer")  # OpenSSL's
IN_SCRIPT = "The user executing the script can't"  # how Redis 7.0 says NOPERM there


class Misconfigured(ConfigurationError, TransportError):
    """The server is set up so that it could lose what we give it, or cannot run what we ask of it."""


class KeyOfAnotherType(TransportError):
    """A key that we would write is somebody else's: it has another type."""


class ServerFull(TransportError):
    """The server has no memory left for a write."""


@contextmanager
def mapped(where: object) -> Iterator[None]:
    """Raise what redis-py raises inside as celeriac's error, the original as its cause.

    Args:
        where: the server, as people shall read it.
    """
    try:
        yield
    except (exceptions.RedisError, OSError) as error:  # asyncio's TimeoutError is an OSError
        raise redis_error(error, where) from error
    except asyncio.IncompleteReadError as error:
        raise ConnectionLost(f"{where}: {error}") from error


def redis_error(error: Exception, where: object) -> TransportError:
    """Return what it means that ``error`` came from the server ``where``."""
    text = str(error) or type(error).__name__
    match error:
        case exceptions.ResponseError() if "DB index is out of range" in text:
            return AccessRefused(
                f"{where} has no such database; its setting 'databases' says how many it has (0 to n-1)"
            )
        case _ if isinstance(error, REFUSALS) or text.startswith(("NOAUTH", "WRONGPASS", "NOPERM", IN_SCRIPT)):
            return AccessRefused(f"{where} refused the user, the password or a permission: {text}")
        case exceptions.ReadOnlyError():
            return ConnectionLost(f"{where} is a replica, which cannot be written: {text}")
        case exceptions.ConnectionError() if any(cause in text for cause in UNKNOWN_SIGNER):
            return ConnectionLost(f"{where}: {text} Name the file with who signed it by ?cafile=")
        case exceptions.ConnectionError() | exceptions.TimeoutError() | exceptions.InvalidResponse() | OSError():
            return ConnectionLost(f"{where}: {text}")
        case exceptions.OutOfMemoryError():
            return _full(where)
        case exceptions.ResponseError():
            return _response_error(text, where)
    return TransportError(f"{where}: {text}")


def _response_error(text: str, where: object) -> TransportError:
    """Return what an error reply means that redis-py has no class for."""
    if text.startswith(NOT_NOW) or any(f"-{code}" in text for code in NOT_NOW):  # the latter from within a script
        return ConnectionLost(f"{where} takes no commands now: {text}")
    if text.startswith(FULL) or "-OOM " in text:
        return _full(where)
    if WRONG_TYPE in text:
        return KeyOfAnotherType(f"{where}: {OF_ANOTHER_TYPE}: {readable(text)}")
    if text.startswith(("MOVED", "ASK", "CROSSSLOT")):
        return Misconfigured(f"{where} is a node of a Redis Cluster, which is not supported: {text}")
    if "exceeds maximum allowed size" in text or "invalid bulk length" in text:
        return MessageTooLarge(f"{where}: {text}; its setting 'proto-max-bulk-len' says how large a value may be")
    return TransportError(f"{where}: {text}")


def readable(text: str) -> str:
    r"""Return ``text`` with what no terminal shows written out: kombu's names of lists hold ``\x06\x16``."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _full(where: object) -> ServerFull:
    return ServerFull(f"{where} has used its 'maxmemory'; raise it, or let what waits there be worked off")
