"""The header table `celeriac`: what celeriac must know of a message that Celery's own headers do not say."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from celeriac.errors import ProtocolError
from celeriac.protocol.when import parse_when
from celeriac.transport_helpers import OWN_HEADER

if TYPE_CHECKING:
    from datetime import datetime

VERSION = 1
KEPT = 5
TEXT_BYTES = 500
REPLAYED = "replayed"
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTable:
    """The counters and the history of a message, which travel with each copy of it.

    Attributes:
        v: the version of the table.
        crashes: how often a child process died of it.
        accused: how often a child died while it ran beside others.
        lost: how often it came back with no copy saying why.
        history: what happened to earlier attempts, oldest first: the first and the last five.
        signature: of a body that can run code (see `celeriac.signing`); ``None`` where there is none.
    """

    v: int = VERSION
    crashes: int = 0
    accused: int = 0
    lost: int = 0
    history: tuple[Mapping[str, Any], ...] = ()
    signature: str | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, Any]) -> OwnTable:
        """Return the table in ``headers``; whatever is missing or makes no sense is its default. Never raises."""
        table = headers.get(OWN_HEADER)
        if not isinstance(table, Mapping) or not table:
            return PLAIN
        history, signature = table.get("history"), table.get("signature")
        return cls(
            v=_count(table, "v", VERSION),
            crashes=_count(table, "crashes"),
            accused=_count(table, "accused"),
            lost=_count(table, "lost"),
            history=_bounded(history) if isinstance(history, list | tuple) else (),
            signature=signature if isinstance(signature, str) else None,
        )

    def to_header(self) -> dict[str, Any]:
        """Return the value of the header."""
        signed = {} if self.signature is None else {"signature": self.signature}
        return {
            "v": self.v,
            "crashes": self.crashes,
            "accused": self.accused,
            "lost": self.lost,
            "history": [dict(entry) for entry in self.history],
            **signed,
        }

    @property
    def replayed_at(self) -> datetime | None:
        """When it was sent back last after it had been a dead letter."""
        for entry in reversed(self.history):
            if entry.get("why") == REPLAYED:
                with contextlib.suppress(ProtocolError):
                    return parse_when(entry.get("at"))
        return None

    def add_history(self, entry: Mapping[str, Any]) -> OwnTable:
        """Return the table with ``entry`` as its latest, each text of it cut to 500 bytes.

        Of more than ten entries the first and the last five are kept: a header table over 64 KiB would be refused.
        """
        short = {key: _cut(value) if isinstance(value, str) else value for key, value in entry.items()}
        return replace(self, history=_bounded((*self.history, short)))


PLAIN = OwnTable()


def _count(table: Mapping[str, Any], name: str, default: int = 0) -> int:
    value = table.get(name)
    return value if type(value) is int and 0 <= value <= _LARGEST else default


def _bounded(entries: Sequence[Any]) -> tuple[Mapping[str, Any], ...]:
    kept = tuple(entry for entry in entries if isinstance(entry, Mapping))
    return kept if len(kept) <= 2 * KEPT else kept[:KEPT] + kept[-KEPT:]


def _cut(text: str) -> str:
    # a cut may fall inside a character: that one goes; a lone surrogate cannot travel and becomes "?"
    return text.encode("utf-8", "replace")[:TEXT_BYTES].decode("utf-8", "ignore")
