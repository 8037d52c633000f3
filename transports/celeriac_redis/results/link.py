"""A store's connection for commands: opened anew after each loss, to wherever the server is then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConnectionLost
from celeriac_redis.clients import find
from celeriac_redis.results.line import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.errors import TransportError
    from celeriac_redis.address import Address
    from celeriac_redis.scripts import Argument, Script


class Link:
    """Open from `open` to `close`; what is lost between is mended by the next call."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        """Open nothing."""
        self._addresses = addresses
        self._line: Line | None = None
        self._lock = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        """Find the server and connect; raises as `celeriac_redis.clients.find`."""
        await self._ready()

    async def close(self) -> None:
        """Hang up, for good. Idempotent."""
        self._closed = True
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def run(self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Any:
        """Run ``script`` in one step.

        Raises:
            TransportError: it was not run, or what became of it is unknown.
        """
        return await (await self._ready()).run(script, keys, arguments)

    async def run_again(self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Any:
        """As `run`, once more if the connection is lost: for what may be done twice."""
        try:
            return await self.run(script, keys, arguments)
        except ConnectionLost:
            return await self.run(script, keys, arguments)

    async def _ready(self) -> Line:
        line = self._line
        if line is not None and line.error is None:
            return line
        async with self._lock:
            line = self._line
            if line is not None:
                if line.error is None:
                    return line
                await line.close()
            line = Line(await find(self._addresses), _noticed)
            await line.open()
            if self._closed:  # meanwhile
                await line.close()
                raise ConnectionLost(f"the result store {self._addresses[0]} is closed")
            self._line = line
            return line


def _noticed(_error: TransportError) -> None:
    """Do nothing at a loss: whoever asked is told, and the next call mends it."""
