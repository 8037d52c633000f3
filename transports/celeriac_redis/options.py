"""The options in the query of a Redis URL. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FLEETS = ("celery",)
EVICTION = ("refuse", "allow")
ENDINGS = ":_-."


def _number(low: float, high: float, kind: Callable[[str], float] = float) -> Callable[[str], float]:
    def convert(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise ValueError(f"use {low:g} to {high:g}")
        return value

    return convert


def _flag(text: str) -> bool:
    try:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError("use true or false") from None


def _one_of(*choices: str) -> Callable[[str], str]:
    def choose(text: str) -> str:
        if text not in choices:
            raise ValueError(f"use one of {', '.join(choices)}")
        return text

    return choose


DATABASE = _number(0, 2**31 - 1, int)

OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "prefix": str,
    "lease": _number(0.1, 31_536_000),
    "visibility_timeout": _number(1, 31_536_000),
    "heartbeat": _number(0.1, 600),
    "connect_timeout": _number(0.1, 300),
    "eviction": _one_of(*EVICTION),
    "fleet": _one_of(*FLEETS),
    "cafile": str,
    "certfile": str,
    "keyfile": str,
    "verify": _flag,
    "tls": _flag,
    "sentinel_user": str,
    "sentinel_password": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a URL's query, but for ``db``.

    Attributes:
        prefix: begins the name of every key and channel of ours, as Celery's ``global_keyprefix`` does.
        lease: seconds that a delivery is held without being extended.
        visibility_timeout: seconds after which what another client than celeriac has taken, and has not acknowledged,
            is taken to be lost; Celery's setting of that name, with its default of an hour.
        heartbeat: seconds; a connection that was silent for so long is asked whether it lives, and an answer that takes
            longer is given up. A link that is dead without a word is noticed within two of these.
        connect_timeout: seconds until an address that does not answer is given up.
        eviction: ``refuse`` a server whose ``maxmemory-policy`` lets it drop keys, or ``allow`` it.
        fleet: ``celery`` shares queues and results with Celery's workers and clients.
        cafile: certificates that sign the server's, instead of the system's.
        certfile: our own certificate, where the server wants one.
        keyfile: its key.
        verify: check the server's certificate and host name.
        tls: for ``sentinel``, whether the sentinels and their servers speak TLS; otherwise the scheme says it.
        sentinel_user: for the sentinels; the URL's user is for their servers.
        sentinel_password: for the sentinels; the URL's password is for their servers.
    """

    prefix: str = ""
    lease: float = 30.0
    visibility_timeout: float = 3600.0
    heartbeat: float = 10.0
    connect_timeout: float = 4.0
    eviction: str = "refuse"
    fleet: str | None = None
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    verify: bool = True
    tls: bool | None = None
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    @property
    def result_prefix(self) -> str:
        """The prefix as Celery's result backend writes it: with ``_`` after it unless it ends in one of ``: _ - .``."""
        return self.prefix if not self.prefix or self.prefix[-1] in ENDINGS else f"{self.prefix}_"
