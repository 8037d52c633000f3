"""What things of ours are called on the server.

A queue is one stream with two subjects, each with a durable consumer of its own:

    <namespace>.q.<queue>.ready     what can be taken now
    <namespace>.q.<queue>.later     what waits for its moment
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

PLAIN = re.compile(r"[A-Za-z0-9_-]{1,100}")
READY = "ready"
LATER = "later"


def token(name: str) -> str:
    """Return ``name`` as one word of a subject: itself if it can be, else its beginning and its digest.

    NATS allows neither dots, spaces, ``*``, ``>`` nor slashes there. Two names never give the same word: ``=`` stands
    in no plain one.
    """
    if PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[:60]}={digest[:24]}"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one namespace."""

    namespace: str

    @property
    def catalog(self) -> str:
        """The bucket that keeps what is declared, and what is paused."""
        return f"{self.namespace}_catalog"

    @property
    def revocations(self) -> str:
        """The stream of revocations, and its one subject."""
        return f"{self.namespace}_revoked"

    def stream(self, queue: str) -> str:
        """The stream that keeps ``queue``."""
        return f"{self.namespace}_q_{token(queue)}"

    def subject(self, queue: str, lane: str) -> str:
        """Where messages for ``queue`` are published; ``lane`` is `READY` or `LATER`."""
        return f"{self.namespace}.q.{token(queue)}.{lane}"

    def signal(self, topic: str) -> str:
        """Where ``topic`` is signalled; no stream keeps it."""
        return f"{self.namespace}.signal.{token(topic)}"
