"""A message as JetStream keeps it: one line of JSON for its properties, then the body as it is.

Properties travel in the payload and not in NATS's headers, which hold one line of text each and no types.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime

from celeriac.message import Message
from celeriac.transport_helpers import dump_headers, load_headers

logger = logging.getLogger(__name__)

FIELDS = (
    "id",
    "exchange",
    "routing_key",
    "content_type",
    "content_encoding",
    "headers",
    "priority",
    "correlation_id",
    "reply_to",
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in a stream.

    Attributes:
        message: as it was published.
        returns: how often it was given back and published anew.
        due: not before this moment; ``None`` is at once.
    """

    message: Message
    returns: int = 0
    due: datetime | None = None

    def pack(self) -> bytes:
        """Return the payload.

        Raises:
            Unsupported: a header that no broker carries.
        """
        properties = {name: getattr(self.message, name) for name in FIELDS}
        envelope = {"message": properties, "returns": self.returns, "due": self.due and self.due.isoformat()}
        return dump_headers(envelope).encode("ascii") + b"\n" + self.message.body


def unpack(payload: bytes) -> Kept:
    """Return what was packed.

    Raises:
        ValueError: it is not ours.
    """
    line, _, body = payload.partition(b"\n")
    try:
        envelope = load_headers(line.decode("ascii"))
        due = envelope["due"]
        message = Message(body=body, **envelope["message"])
        return Kept(message, envelope["returns"], due and datetime.fromisoformat(due))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no message of ours: {error!r}") from error


def unpack_or_leave(payload: bytes, where: str) -> Kept | None:
    """Return what was packed, or log that ``where`` lies something else: it stays for people to look at."""
    try:
        return unpack(payload)
    except ValueError:
        logger.exception("%s lies a message that is none of ours", where)
        return None


def dedup_id(*parts: str | bytes) -> str:
    """Return a ``Nats-Msg-Id``: a stream drops a second message of the same one, within its duplicate window.

    It is made of all that is sent, not of the message's id: a retry has the id of what it replaces.
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part if isinstance(part, bytes) else part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:32]
