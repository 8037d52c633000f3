"""nats-py's errors as the port's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import nats.errors
import nats.js.errors

from celeriac.errors import AccessRefused, ConnectionLost, MessageTooLarge, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSALS = ("authorization", "authentication", "permissions", "user authentication")


@contextmanager
def mapped(doing: str) -> Iterator[None]:
    """Raise what the driver raises in this block as a `TransportError` that says what failed, the cause kept."""
    try:
        yield
    except TransportError:
        raise
    except nats.errors.MaxPayloadError as error:
        raise MessageTooLarge(f"{doing}: more than the server's max_payload; raise it there, or send less") from error
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise translated(error, doing) from error


def translated(error: BaseException, doing: str) -> TransportError:
    """Return the port's error for the driver's."""
    said = str(error) or type(error).__name__
    if any(word in said.lower() for word in REFUSALS):
        return AccessRefused(f"{doing}: {said}")
    if isinstance(error, nats.js.errors.ServiceUnavailableError):
        return TransportError(f"{doing}: JetStream does not answer; is the server started with it (nats-server -js)?")
    if isinstance(error, nats.js.errors.APIError):
        return TransportError(f"{doing}: {error.description or said}")
    return ConnectionLost(f"{doing}: {said}")
