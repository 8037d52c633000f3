"""One dead letter, and the message that it becomes again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.errors import ProtocolError
from celeriac.protocol import OwnTable, parse_when, resend
from celeriac.protocol.own import REPLAYED
from celeriac.transport_helpers import OWN_HEADER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from celeriac.message import Message


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A message that was set aside, and what was written about it; where that makes no sense, it is empty.

    Attributes:
        message: as it lies there.
        queue: the queue among whose dead letters it lies.
    """

    message: Message
    queue: str

    @property
    def id(self) -> str:
        """The message's id: for a task, the task's."""
        return self.message.id

    @property
    def task(self) -> str:
        """The task's name."""
        return _text(self.message.headers.get("task"))

    @property
    def reason(self) -> str:
        """One word: ``undecodable``, ``unknown``, ``crashed``, ``lost``, ``rejected``, ..."""
        return _text(self._why.get("reason"))

    @property
    def detail(self) -> str:
        """One sentence for a person."""
        return _text(self._why.get("detail"))

    @property
    def attempts(self) -> int:
        """How often it was run."""
        attempts = self._why.get("attempts")
        return attempts if type(attempts) is int else 0

    @property
    def worker(self) -> str:
        """The node name of the last worker that had it."""
        return _text(self._why.get("worker"))

    @property
    def at(self) -> datetime | None:
        """When it was set aside."""
        with contextlib.suppress(ProtocolError):
            return parse_when(self._why.get("at"))
        return None

    @property
    def origin(self) -> str:
        """The queue that it was taken from, and goes back to."""
        return _text(self._why.get("queue")) or self.queue

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """What happened to earlier attempts, oldest first."""
        return OwnTable.from_headers(self.message.headers).history

    @property
    def wants_result(self) -> bool:
        """Whoever sent it said that the result is wanted."""
        return self.message.headers.get("ignore_result") is False

    def sent_back(self, now: datetime) -> Message:
        """Return the message for its queue: its attempts kept, its death an entry of its history, no more.

        The counters of crashes and losses begin anew: they would condemn it at once.
        """
        error = f"{self.reason}: {self.detail}" if self.detail else self.reason
        entry = {"at": now.isoformat(), "where": self.worker, "why": REPLAYED, "error": error}
        own = OwnTable(history=tuple(self.history)).add_history(entry)
        return resend(self.message, own=own, queue=self.origin)

    @property
    def _why(self) -> Mapping[str, Any]:
        own = self.message.headers.get(OWN_HEADER)
        why = own.get("dead") if isinstance(own, Mapping) else None
        return why if isinstance(why, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
