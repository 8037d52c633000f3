"""From an address to clients of redis-py: which server, whether it is fit, and how its connections behave.

Nothing is tried twice by the driver: it cannot know whether a command whose answer was lost has been done, and a claim
that is done twice loses a message. A failure is raised; whoever called knows what may be repeated.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from celeriac.errors import AccessRefused, ConnectionLost, TransportError
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
    """Return where the server is: by the first sentinel that knows, where there are sentinels.

    Raises:
        AccessRefused: a sentinel refuses us, and no other knows the service.
        Misconfigured: none of them is one.
        ConnectionLost: otherwise; one that does not answer now may know later.
    """
    if address.service is None:
        host, port = (address.path or "", None) if address.path else address.hosts[0]
        return Server(address=address, host=host, port=port)
    said: list[str] = []
    refusals: list[TransportError] = []
    for host, port in address.hosts:
        try:
            found = await _asked(address, host, port)
        except TransportError as error:
            said.append(str(error))
            refusals += [] if isinstance(error, ConnectionLost) else [error]
            continue
        if found is not None:
            return Server(address=address, host=found[0], port=found[1])
        said.append(f"{host}:{port} knows no such service")
    refused = len(refusals) == len(address.hosts) or {type(each) for each in refusals} == {AccessRefused}
    kind = type(refusals[0]) if refused else ConnectionLost
    raise kind(f"no master for the {address}: {'; '.join(said)}")


async def _asked(address: Address, host: str, port: int) -> tuple[str, int] | None:
    """Return the master that the sentinel at ``host`` names."""
    # one that is silent leaves time for the others
    seconds = address.options.connect_timeout / (len(address.hosts) + 1)
    login = {"username": address.options.sentinel_user, "password": address.options.sentinel_password}
    times = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    made = _connection(_target(address, host, port) | login | times)
    async with _opened(made, f"the sentinel {host}:{port}"):
        try:
            found = await _answer(made, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service or "")
        except ResponseError as error:
            if "unknown command" not in str(error):
                raise
            raise Misconfigured(f"{host}:{port} is no sentinel; give the address of one, or write redis://") from error
    return (found[0].decode(), int(found[1])) if found else None


async def _check(server: Server) -> None:
    """Raise unless the server is a master that keeps what it is given."""
    made = _connection(_arguments(server, patient=False))
    async with _opened(made, server):
        facts = await _facts(made)
    if facts.get("loading") == "1":
        raise ConnectionLost(f"{server} is still reading its data from the disk")
    if facts.get("role") == "slave":
        master = f"{facts.get('master_host')}:{facts.get('master_port')}"
        raise ConnectionLost(f"{server} is a replica of {master}, which must not be written; give the master's address")
    if facts.get("cluster_enabled") == "1":
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


async def _facts(made: Connection) -> dict[str, str]:
    """Return what the server tells of itself; one who may not ask is told less."""
    facts: dict[str, str] = {}
    with suppress(NoPermissionError):
        lines = (await _answer(made, "INFO")).decode(errors="replace").splitlines()
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
    if "maxmemory_policy" not in facts:
        with suppress(ResponseError):  # forbidden, or renamed away, as managed services do
            found = await _answer(made, "CONFIG", "GET", "maxmemory-policy")  # name and value, or nothing
            if found:
                facts["maxmemory_policy"] = found[1].decode()
    return facts


async def _answer(made: Connection, *command: str) -> Any:
    await made.send_command(*command, check_health=False)
    return await made.read_response(disconnect_on_error=False)


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


def _connection(kwargs: dict[str, Any]) -> Connection:
    made: Connection = kwargs.pop("connection_class")(**kwargs, **ONCE)
    return made


@asynccontextmanager
async def _opened(made: Connection, where: object) -> AsyncIterator[None]:
    """Connect; close it again whatever comes, a cancellation too, after which redis-py's pool leaves it open."""
    try:
        with mapped(where):
            await made.connect()  # type: ignore[no-untyped-call]
            yield
    finally:
        with suppress(RedisError):
            await made.disconnect()
