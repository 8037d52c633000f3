"""What a URL says, and what a queue of this broker can do."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from celeriac.errors import ConfigurationError
from celeriac.transport import Capabilities
from celeriac.transport_helpers import masked, masked_all, url_options

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_PORT = 4222
DEFAULT_NAMESPACE = "celeriac"
NAMESPACE = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_DELAY = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One cluster and one namespace in it.

    Attributes:
        servers: for nats-py, to be tried in order; they hold the password.
        shown: the same for people.
        tls: the connection is encrypted, and the server's certificate checked.
        namespace: begins the name of every stream, bucket and subject of ours.
        lease: how long a delivery stays with its consumer unless extended.
        heartbeat: seconds between two pings; a server that leaves two unanswered is gone.
        replicas: how many servers of the cluster keep each stream.
        result_age: seconds after which the server drops a result, whatever its own expiry says.
    """

    servers: Sequence[str]
    shown: str
    tls: bool
    namespace: str
    lease: timedelta
    heartbeat: float
    replicas: int
    result_age: float

    def capabilities(self) -> Capabilities:
        """Return what holds for every queue of this broker; the README says why the rest does not."""
        return Capabilities(
            max_delay=MAX_DELAY,
            lease=self.lease,
            renew_every=self.lease / 3,
            cross_process=True,
            revocations=True,
            peek=True,
            pause=True,
        )


def parse(urls: Sequence[str]) -> Address:
    """Return what ``urls`` say: ``nats://[user[:password]@]host[:port][/namespace][?option=...]``.

    Options: ``lease`` (30), ``heartbeat`` (10) and ``result_age`` (7 days) in seconds, ``replicas`` (1).

    Raises:
        ConfigurationError: a URL or an option that cannot work, or addresses that are not of one cluster.
    """
    if not urls:
        raise ConfigurationError("a NATS broker needs at least one URL, say nats://localhost:4222")
    options = url_options(urls[0], OPTIONS)
    spaces = {_namespace(url) for url in urls}
    if len(spaces) > 1 or len({(urlsplit(url).scheme, urlsplit(url).query) for url in urls}) > 1:
        raise ConfigurationError(
            f"the addresses of one cluster have the same scheme, namespace and options: {masked_all(urls)}"
        )
    return Address(
        servers=[_server(url) for url in urls],
        shown=masked_all(urls),
        tls=urlsplit(urls[0]).scheme == "nats+tls",
        namespace=spaces.pop(),
        lease=timedelta(seconds=options.get("lease", 30)),
        heartbeat=options.get("heartbeat", 10),
        replicas=options.get("replicas", 1),
        result_age=options.get("result_age", 7 * 86_400),
    )


def _server(url: str) -> str:
    """Return the part of ``url`` that nats-py wants."""
    parts = urlsplit(url)
    try:
        has_port = parts.port is not None
    except ValueError as error:
        raise ConfigurationError(f"{masked(url)}: {error}") from None
    if not parts.hostname:
        raise ConfigurationError(f"{masked(url)} has no host; write nats://localhost:{DEFAULT_PORT}")
    netloc = parts.netloc if has_port else f"{parts.netloc.rstrip(':')}:{DEFAULT_PORT}"
    return urlunsplit(("nats", netloc, "", "", ""))


def _namespace(url: str) -> str:
    name = urlsplit(url).path.strip("/") or DEFAULT_NAMESPACE
    if not NAMESPACE.fullmatch(name):
        raise ConfigurationError(f"namespace {name!r} in {masked(url)}: use 1 to 64 letters, digits, '_' and '-'")
    return name


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds >= 1):
        raise ValueError("give seconds, 1 or more")
    return seconds


def _replicas(text: str) -> int:
    if text not in {"1", "3", "5"}:
        raise ValueError("JetStream keeps 1, 3 or 5 replicas")
    return int(text)


OPTIONS = {"lease": _seconds, "heartbeat": _seconds, "result_age": _seconds, "replicas": _replicas}
