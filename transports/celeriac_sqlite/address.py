"""What a ``sqlite:`` URL says: the file and its options."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from celeriac.errors import ConfigurationError
from celeriac.transport_helpers import masked, url_options

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_LEASE = timedelta(seconds=30)
SHORTEST_LEASE = 0.1
FORM = "write sqlite:///relative.db or sqlite:////absolute.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One database file and how it is used.

    Attributes:
        path: the file, absolute, symbolic links resolved: two names of one file are one broker.
        full: ``synchronous=full`` (the default): a commit waits for the disk. ``normal`` does not: a power failure
            may take the last commits, a crash of the process takes none.
        lease: ``lease=30`` seconds: how long a delivery is held without being extended.
    """

    path: str
    full: bool = True
    lease: timedelta = DEFAULT_LEASE

    @classmethod
    def of(cls, urls: Sequence[str]) -> Address:
        """Return what the only one of ``urls`` says.

        Raises:
            ConfigurationError: there are several, or it has no file, or a file that several processes cannot share.
            UnknownOption: an option that SQLite does not have.
        """
        if len(urls) != 1:
            raise ConfigurationError(f"SQLite takes one URL, not {len(urls)}: a file has one address")
        url = urls[0]
        options = url_options(url, {"synchronous": _synchronous, "lease": _lease})
        parts = urlsplit(url)
        name = unquote(parts.path[1:])
        if name == ":memory:":
            raise ConfigurationError("sqlite:///:memory: would be seen by one connection only; use memory://")
        if parts.netloc or parts.fragment or not name or "\0" in name:
            raise ConfigurationError(f"{masked(url)!r} names no file; {FORM} (and %23 for '#', %3F for '?')")
        return cls(
            path=os.path.realpath(name),
            full=options.get("synchronous", True),
            lease=options.get("lease", DEFAULT_LEASE),
        )


def _synchronous(text: str) -> bool:
    if text not in {"full", "normal"}:
        raise ValueError("use 'full' or 'normal'")
    return text == "full"


def _lease(text: str) -> timedelta:
    seconds = float(text)
    if not SHORTEST_LEASE <= seconds <= timedelta(days=365).total_seconds():
        raise ValueError(f"use seconds, from {SHORTEST_LEASE} to a year")
    return timedelta(seconds=seconds)
