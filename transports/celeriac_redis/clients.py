"""From an address to clients of redis-py: which server, whether it is fit, and how its connections behave.

Nothing is tried twice by the driver: it cannot know whether a command whose answer was lost has been done, and a claim
that is done twice loses a message. A failure is raised; whoever called knows what may be repeated.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, ResponseError

from celeriac.errors import ConnectionLost
from celeriac_redis.errors import Misconfigured, mapped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from celeriac_redis.address import Address

NO_EVICTION = "noeviction"
# RESP2 means the same in every release of redis-py and to every server
ONCE: Mapping[str, Any] = {"retry": Retry(NoBackoff(), 0), "retry_on_error": [], "protocol": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server that has answered and is fit.

    Attributes:
        address: what the URL says.
        host: where it is; of a Unix socket, its path.
        port: ``None`` for a Unix socket.
    """

    address: Address
    host: str
    port: int | None

    def __str__(self) -> str:
        """Return ``host:port``, for people."""
        return self.host if self.port is None else f"{self.host}:{self.port}"


async def find(addresses: Sequence[Address]) -> Server:
    """Return the first server that answers, is a master and is fit.

    Raises:
        ConnectionLost: no address answers, or those that do are replicas.
        AccessRefused: one refuses us, or has no such database.
        Misconfigured: one could lose what we give it, or is a node of a Redis Cluster.
    """
    errors: list[ConnectionLost] = []
    for address in addresses:
        try:
            return await _found(address)
        except ConnectionLost as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise ConnectionLost("; ".join(str(error) for error in errors)) from errors[-1]


def client(server: Server, *, connections: int, patient: bool = False) -> Redis:
    """Return a client with at most ``connections``; those who want one more wait. Opens nothing.

    Args:
        server: from `find`.
        connections: at most.
        patient: wait for an answer for as long as it takes: for commands that block, and for pub/sub. Whoever uses it
            sees to it that the link lives.
    """
    return _client(_arguments(server, patient=patient), connections)


def connection(server: Server) -> Connection:
    """Return one connection without a client, for pub/sub: its answers are awaited for as long as they take.

    Opens nothing. Whoever uses it sees to it that the link lives.
    """
    kwargs = _arguments(server, patient=True)
    made: Connection = kwargs.pop("connection_class")(**kwargs, **ONCE)
    return made


async def _found(address: Address) -> Server:
    try:
        async with asyncio.timeout(address.options.connect_timeout):
            server = await _located(address)
            await _check(server)
    except TimeoutError as error:
        seconds = address.options.connect_timeout
        raise ConnectionLost(f"cannot connect to {address}: no answer within {seconds:g} s") from error
    return server


async def _located(address: Address) -> Server:
    """Return where the server is: by the first sentinel that knows, where there are sentinels."""
    if address.service is None:
        host, port = (address.path or "", None) if address.path else address.hosts[0]
        return Server(address=address, host=host, port=port)
    said: list[str] = []
    for host, port in address.hosts:
        try:
            found = await _asked(address, host, port)
        except ConnectionLost as error:
            said.append(str(error))
            continue
        if found is not None:
            return Server(address=address, host=found[0], port=found[1])
        said.append(f"{host}:{port} knows no such service")
    raise ConnectionLost(f"no master for the {address}: {'; '.join(said)}")


async def _asked(address: Address, host: str, port: int) -> tuple[str, int] | None:
    """Return the master that the sentinel at ``host`` names."""
    seconds = address.options.connect_timeout / (
        len(address.hosts) + 1
    )  # one that is silent leaves time for the others
    login = {"username": address.options.sentinel_user, "password": address.options.sentinel_password}
    kwargs = _target(address, host, port) | login | {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    async with _closing(_client(kwargs, 1)) as sentinel:
        with mapped(f"the sentinel {host}:{port}"):
            found = await sentinel.sentinel_get_master_addr_by_name(address.service)
    if not found:
        return None
    name, number = cast("tuple[bytes | str, int]", found)
    return name.decode() if isinstance(name, bytes) else name, int(number)


async def _check(server: Server) -> None:
    """Raise unless the server is a master that keeps what it is given."""
    async with _closing(client(server, connections=1)) as asked:
        with mapped(server):
            facts = await _facts(asked)
    if facts.get("loading") == 1:
        raise ConnectionLost(f"{server} is still reading its data from the disk")
    if facts.get("role") == "slave":
        master = f"{facts.get('master_host')}:{facts.get('master_port')}"
        raise ConnectionLost(f"{server} is a replica of {master}, which must not be written; give the master's address")
    if facts.get("cluster_enabled") == 1:
        raise Misconfigured(f"{server} is a node of a Redis Cluster, which is not supported; give a server of its own")
    if server.address.options.eviction == "refuse":
        _refuse_eviction(server, facts.get("maxmemory_policy"))


def _refuse_eviction(server: Server, policy: str | None) -> None:
    """Raise if the server may drop keys when its memory is full, or does not say."""
    if policy == NO_EVICTION:
        return
    if policy is None:
        user = server.address.user or "default"
        raise Misconfigured(
            f"{server} does not say whether it drops keys when its memory is full: the user {user!r} may use neither "
            f"INFO nor CONFIG GET; allow it with 'ACL SETUSER {user} +info', or take the risk with ?eviction=allow"
        )
    raise Misconfigured(
        f"{server} has 'maxmemory-policy {policy}': it drops keys, and tasks with them, when its memory is full; write "
        "'maxmemory-policy noeviction' into its configuration, or say 'CONFIG SET maxmemory-policy noeviction', or "
        "take the risk with ?eviction=allow"
    )


async def _facts(asked: Redis) -> dict[str, Any]:
    """Return what the server tells of itself; one who may not ask is told less."""
    facts: dict[str, Any] = {}
    with suppress(NoPermissionError):
        facts = await asked.info()
    if "maxmemory_policy" not in facts:
        with suppress(ResponseError):  # forbidden, or renamed away, as managed services do
            facts["maxmemory_policy"] = (await asked.config_get("maxmemory-policy")).get("maxmemory-policy")
    return facts


def _target(address: Address, host: str, port: int | None) -> dict[str, Any]:
    """Return the kind of connection and its arguments, but for the login."""
    options = address.options
    common: dict[str, Any] = {"socket_connect_timeout": options.connect_timeout}
    if port is None:
        return common | {"connection_class": UnixDomainSocketConnection, "path": host}
    common |= {"host": host, "port": port, "socket_keepalive": True}
    if not address.tls:
        return common | {"connection_class": Connection}
    return common | {
        "connection_class": SSLConnection,
        "ssl_ca_certs": options.cafile,
        "ssl_certfile": options.certfile,
        "ssl_keyfile": options.keyfile,
        "ssl_cert_reqs": "required" if options.verify else "none",
        "ssl_check_hostname": options.verify,
    }


def _arguments(server: Server, *, patient: bool) -> dict[str, Any]:
    """Return the kind of connection and its arguments, the login among them."""
    heartbeat = server.address.options.heartbeat
    return _target(server.address, server.host, server.port) | {
        "db": server.address.database,
        "username": server.address.user,
        "password": server.address.password,
        "socket_timeout": None if patient else heartbeat,
        "health_check_interval": 0 if patient else heartbeat,
    }


def _client(kwargs: dict[str, Any], connections: int) -> Redis:
    pool = BlockingConnectionPool(max_connections=connections, timeout=None, **ONCE, **kwargs)
    return Redis.from_pool(pool)


@asynccontextmanager
async def _closing(opened: Redis) -> AsyncIterator[Redis]:
    try:
        yield opened
    finally:
        await opened.aclose()
