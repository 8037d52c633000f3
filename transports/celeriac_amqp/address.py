"""What an ``amqp://`` URL says. Pure.

``amqp://user:password@host:port/vhost?option=value``. Missing parts are RabbitMQ's defaults: guest, guest, localhost,
5672 (5671 for ``amqps``), virtual host ``/`` (written ``/%2F``, ``//`` or left out).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from celeriac.errors import ConfigurationError
from celeriac.transport_helpers import masked, url_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

QUEUE_TYPES = ("quorum", "classic")
CODECS = ("lean", "pika")
FLEETS = ("celery",)
PLAIN = "plain"
PORTS = {"amqp": 5672, "amqps": 5671}
MIB = 1024 * 1024


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


OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "heartbeat": _number(1, 600, int),
    "connect_timeout": _number(0.1, 300),
    "hold_limit": _number(1, 86400),
    "max_body": _number(1, 512 * MIB, int),
    "queue_type": _one_of(*QUEUE_TYPES),
    "fleet": _one_of(*FLEETS),
    "codec": _one_of(*CODECS),
    "cafile": str,
    "certfile": str,
    "keyfile": str,
    "verify": _flag,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a URL's query.

    Attributes:
        heartbeat: seconds; a silent peer is given up after two to three of these.
        connect_timeout: seconds until an address that does not answer is given up.
        hold_limit: seconds that a delivery is held on its task queue before it is moved to the worker's own lease
            queue; must stay below the broker's ``consumer_timeout`` (30 minutes by default) by a third.
        max_body: bytes; a larger body raises `MessageTooLarge`. RabbitMQ 4 itself takes 16 MiB by default.
        queue_type: what a queue is declared as that asks for nothing itself: ``quorum`` or ``classic``.
        fleet: ``celery`` declares such a queue without any argument, exactly as Celery does, and takes it as it is
            where it exists otherwise.
        codec: what cuts and makes the frames of messages: ``lean`` is our own code, ``pika`` is pika's.
        cafile: certificates that sign the broker's (``amqps`` only), instead of the system's.
        certfile: our own certificate, where the broker wants one.
        keyfile: its key.
        verify: check the broker's certificate and host name.
    """

    heartbeat: int = 10
    connect_timeout: float = 4.0
    hold_limit: float = 1200.0
    max_body: int = 16 * MIB
    queue_type: str = "quorum"
    fleet: str | None = None
    codec: str = "lean"
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    verify: bool = True

    @property
    def default_type(self) -> str:
        """``quorum``, ``classic``, or ``plain``: no argument at all."""
        return self.queue_type if self.fleet is None else PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One broker node, and how to log in there."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    vhost: str
    tls: bool
    options: Options = Options()

    def __str__(self) -> str:
        """Return ``host:port``, for people."""
        return f"{self.host}:{self.port}"


class Nodes:
    """The addresses of one cluster, as the connections of one transport try them.

    One that did not answer, or whose connection was lost or stalled, is tried last from then on, so that no other
    connection waits for it again.
    """

    def __init__(self, addresses: Iterable[Address]) -> None:
        """Begin in the order given."""
        self._order = list(addresses)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._order)

    def in_order(self) -> tuple[Address, ...]:
        """Return them in the order in which to try them now."""
        return tuple(self._order)

    def failed(self, address: Address) -> None:
        """Try ``address`` last from now on."""
        self._order.remove(address)
        self._order.append(address)


def parse(url: str) -> Address:
    """Return what ``url`` says.

    Raises:
        ConfigurationError: it cannot work; an unknown option names the nearest known one.
    """
    options = Options(**url_options(url, OPTIONS))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{masked(url)}: {error}") from None
    if parts.scheme not in PORTS:
        raise ConfigurationError(f"{masked(url)} is no AMQP URL; write amqp://user:password@host:port/vhost")
    if options.keyfile and not options.certfile:
        raise ConfigurationError(f"{masked(url)} has a keyfile without a certfile")
    return Address(
        host=parts.hostname or "localhost",
        port=port or PORTS[parts.scheme],
        user="guest" if parts.username is None else unquote(parts.username),
        password="guest" if parts.password is None else unquote(parts.password),
        vhost=_vhost(parts),
        tls=parts.scheme == "amqps",
        options=options,
    )


def _vhost(parts: SplitResult) -> str:
    path = parts.path.removeprefix("/")
    if "/" in path.rstrip("/"):
        raise ConfigurationError(f"the virtual host {path!r} has an unescaped '/'; write it as %2F")
    return unquote(path) or "/"
