"""What a Redis URL says. Pure.

``redis://user:password@host:port/database?option=value``; ``rediss://`` with TLS;
``redis+unix://user:password@/path/to/socket?db=0``; ``sentinel://user:password@host:port;host:port/service?db=0``.
Missing parts are Redis's defaults: localhost, 6379 (sentinels 26379), database 0, the user ``default``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from celeriac.errors import ConfigurationError
from celeriac.transport_helpers import masked, url_options
from celeriac_redis.options import DATABASE, OPTIONS, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

REDIS, TLS, UNIX, SENTINEL = "redis", "rediss", "redis+unix", "sentinel"
PORTS = {REDIS: 6379, TLS: 6379, SENTINEL: 26379}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One server, or the sentinels that know it, and how to log in there.

    Attributes:
        hosts: host and port: one of a server, at least one of sentinels, none of a Unix socket.
        path: the Unix socket.
        service: the name by which the sentinels know their master; ``None`` where there are no sentinels.
        database: the number of the logical database.
        user: ``None`` is the server's user ``default``.
        password: ``None`` is none.
        tls: whether the link is encrypted.
        options: of the query.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    service: str | None = None
    database: int = 0
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    options: Options = field(default_factory=Options)

    def __str__(self) -> str:
        """Return where it is, for people."""
        where = self.path or ", ".join(f"{host}:{port}" for host, port in self.hosts)
        return f"service {self.service!r} of the sentinels {where}" if self.service else where


def parse(url: str) -> Address:
    """Return what ``url`` says.

    Raises:
        ConfigurationError: it cannot work; an unknown option names the nearest known one.
    """
    given = url_options(url, {"db": DATABASE, **OPTIONS})
    queried = given.pop("db", None)
    options = Options(**given)
    parts = urlsplit(url)
    if parts.scheme not in {*PORTS, UNIX}:
        _refuse(url, "is no Redis URL; write redis://user:password@host:port/database")
    if parts.fragment:
        _refuse(url, "has a '#', which begins nothing here; write it as %23")
    if options.keyfile and not options.certfile:
        _refuse(url, "has a keyfile without a certfile")
    if parts.scheme != SENTINEL:
        _refuse_sentinel_options(url, options)
    user, password, hosts = _netloc(url, parts)
    path, service, pathed = _path(url, parts)
    if queried is not None and pathed is not None and queried != pathed:
        _refuse(url, f"names the databases {pathed} and {queried}; leave one away")
    return Address(
        hosts=hosts,
        path=path,
        service=service,
        database=next((number for number in (pathed, queried) if number is not None), 0),
        user=user,
        password=password,
        tls=parts.scheme == TLS or bool(options.tls),
        options=options,
    )


def parse_all(urls: Sequence[str]) -> tuple[Address, ...]:
    """Return the addresses of one cluster, in the order in which they are tried.

    Raises:
        ConfigurationError: one of them cannot work, or they would not show the same keys.
    """
    addresses = tuple(parse(url) for url in urls)
    first = addresses[0]
    for url, other in zip(urls, addresses, strict=True):
        if other.database != first.database:
            _refuse(url, f"has the database {other.database}, the first address {first.database}; they must agree")
        for each in fields(Options):
            if getattr(other.options, each.name) != getattr(first.options, each.name):
                _refuse(url, f"has another {each.name!r} than the first address; they must agree")
    return addresses


def _netloc(url: str, parts: SplitResult) -> tuple[str | None, str | None, tuple[tuple[str, int], ...]]:
    """Return user, password and hosts."""
    login, _, where = parts.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    if parts.scheme == UNIX:
        if where:
            _refuse(url, "names a host before the socket; write redis+unix:///path/to/socket")
        hosts: tuple[tuple[str, int], ...] = ()
    else:
        names = where.split(";") if parts.scheme == SENTINEL else [where]
        hosts = tuple(_host(url, name, PORTS[parts.scheme]) for name in names)
    return unquote(user) or None, unquote(password) if colon and password else None, hosts


def _host(url: str, text: str, default: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        port = parts.port
    except ValueError as error:
        _refuse(url, f"has no port that could be one: {error}")
    if ";" in text or port == 0:
        _refuse(url, f"has the host {text!r}; write host:port, several only with sentinel://")
    return parts.hostname or "localhost", port or default


def _path(url: str, parts: SplitResult) -> tuple[str | None, str | None, int | None]:
    """Return the socket, the service and the database that the path names."""
    text = parts.path.removeprefix("/")
    if parts.scheme == UNIX:
        if not text:
            _refuse(url, "names no socket; write redis+unix:///path/to/socket")
        return unquote(parts.path), None, None
    service = None
    if parts.scheme == SENTINEL:
        service, _, text = text.partition("/")
        if not service:
            _refuse(url, "names no service; write sentinel://host:26379;host:26379/service")
    try:
        return None, service and unquote(service), int(DATABASE(text)) if text else None
    except ValueError:
        _refuse(url, f"has the database {text!r}, which is no number from 0")


def _refuse_sentinel_options(url: str, options: Options) -> None:
    if options.tls is not None:
        _refuse(url, "has the option tls, which is for sentinel://; write rediss:// for TLS")
    if options.sentinel_user is not None or options.sentinel_password is not None:
        _refuse(url, "has credentials for sentinels and asks none; write sentinel://host:26379/service")


def _refuse(url: str, why: str) -> NoReturn:
    raise ConfigurationError(f"{masked(url)} {why}")
