"""A store's few connections for commands, and where they lead: looked for anew after each loss."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from celeriac.errors import ConnectionLost
from celeriac_redis.clients import client, find
from celeriac_redis.errors import mapped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from celeriac_redis.address import Address
    from celeriac_redis.clients import Server

P = ParamSpec("P")
T = TypeVar("T")

CONNECTIONS = 2  # for commands: one that carries much leaves the other for those that are short


class Link:
    """Open from `open` to `close`; what is lost between is mended by the next call."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        """Open nothing."""
        self._addresses = addresses
        self._server: Server | None = None
        self._client: Redis | None = None
        self._doubtful = True
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Find the server; raises as `celeriac_redis.clients.find`."""
        await self.server()

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        closing, self._client, self._server, self._doubtful = self._client, None, None, True
        if closing is not None:
            await closing.aclose()

    async def server(self) -> Server:
        """Return the server: the known one, unless it was lost and another has taken its place.

        Raises:
            ConnectionLost: none answers.
            AccessRefused: one refuses us.
            Misconfigured: it is not fit.
        """
        async with self._lock:
            if self._server is not None and not self._doubtful:
                return self._server
            found = await find(self._addresses)
            if found != self._server:
                await self.close()
                self._server, self._client = found, client(found, connections=CONNECTIONS)
            self._doubtful = False
            return found

    async def run(
        self, do: Callable[Concatenate[Redis, P], Awaitable[T]], *arguments: P.args, **options: P.kwargs
    ) -> T:
        """Return what ``do(client, *arguments)`` returns.

        Raises:
            TransportError: the driver's error, mapped.
        """
        server, used = await self.server(), self._client
        if used is None:
            raise ConnectionLost(f"{server}: closed")
        try:
            with mapped(server):
                return await do(used, *arguments, **options)
        except ConnectionLost:
            self._doubtful = True
            raise

    async def run_again(
        self, do: Callable[Concatenate[Redis, P], Awaitable[T]], *arguments: P.args, **options: P.kwargs
    ) -> T:
        """As `run`, once more if the connection is lost: for what may be done twice."""
        try:
            return await self.run(do, *arguments, **options)
        except ConnectionLost:
            return await self.run(do, *arguments, **options)
