"""What a worker knows of the tasks that are not to be run: from the broker, which keeps it, and by signal."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from celeriac.control import TOPIC, Control
from celeriac.errors import ConnectionLost, ProtocolError, TransportError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from celeriac.clock import Clock
    from celeriac.connection import Connection

logger = logging.getLogger("celeriac.worker")

TRY_AGAIN = 0.2
LOOK_AGAIN = 5.0
MOST = 250_000


class Revocations:
    """The revoked ids.

    Each is forgotten after the time for which revocations hold, and the oldest beyond `MOST` before that, which is
    logged: 250,000 ids take about 50 MB.
    """

    def __init__(
        self, connection: Connection, clock: Clock, seconds: float, revoked: Callable[[frozenset[str], bool], None]
    ) -> None:
        """Know of none.

        Args:
            connection: open, and supervised elsewhere.
            clock: where the time comes from.
            seconds: after which an id is forgotten.
            revoked: called with ids as they come, and whether these tasks are to be ended by force.
        """
        self._connection = connection
        self._clock = clock
        self._seconds = seconds
        self._revoked = revoked
        self._ids: OrderedDict[str, float] = OrderedDict()
        self._fresh: set[str] = set()
        self._current = asyncio.Event()
        self._kept = True

    def __contains__(self, task_id: str) -> bool:
        """Return whether a task is revoked."""
        return task_id in self._ids

    async def current(self) -> None:
        """Return once all that the broker keeps is known, through this connection."""
        await self._current.wait()

    def lost(self) -> None:
        """Take note that the connection is lost: what is revoked meanwhile is not known here."""
        if self._kept:
            self._current.clear()

    async def run(self) -> None:
        """Follow until cancelled, through losses and reopenings."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._listen())
        await asyncio.get_running_loop().create_future()  # neither could be had; the worker works without

    async def _follow(self) -> None:
        while True:
            await self._connection.ready()
            try:
                async with self._connection.transport.revoked() as seen:
                    self._learn(seen.known, force=False)
                    self._current.set()
                    async for task_id in seen.new:
                        self._gather(task_id)
            except ConnectionLost:
                await self._clock.sleep(TRY_AGAIN)
            except Unsupported as error:
                logger.info("this broker keeps no revocations, which are heard by signal only: %s", error)
                self._kept = False
                self._current.set()
                return
            except TransportError as error:
                logger.warning("cannot read the revocations, which are heard by signal only for now: %s", error)
                self._current.set()
                await self._clock.sleep(LOOK_AGAIN)

    async def _listen(self) -> None:
        while True:
            await self._connection.ready()
            try:
                async with self._connection.transport.listen(TOPIC) as bodies:
                    async for body in bodies:
                        self._hear(body)
            except ConnectionLost:
                await self._clock.sleep(TRY_AGAIN)
            except TransportError as error:
                logger.warning("this worker hears no control signals: %s", error)
                return

    def _hear(self, body: bytes) -> None:
        try:
            control = Control.decode(body)
        except ProtocolError as error:
            logger.warning("%s", error)
            return
        self._learn(control.revoke, force=False)
        self._learn(control.terminate, force=True)

    def _gather(self, task_id: str) -> None:
        """Take one id of a number that come together: who asks is told once of all."""
        if not self._fresh:
            asyncio.get_running_loop().call_soon(self._learn_fresh)
        self._fresh.add(task_id)

    def _learn_fresh(self) -> None:
        fresh, self._fresh = self._fresh, set()
        self._learn(fresh, force=False)

    def _learn(self, ids: Iterable[str], *, force: bool) -> None:
        learnt = frozenset(ids)
        if not learnt:
            return
        now = self._clock.monotonic()
        for task_id in learnt:
            self._ids[task_id] = now
            self._ids.move_to_end(task_id)
        self._forget(now)
        self._revoked(learnt, force)

    def _forget(self, now: float) -> None:
        while self._ids and next(iter(self._ids.values())) <= now - self._seconds:
            self._ids.popitem(last=False)
        if len(self._ids) > MOST:
            logger.warning("more than %d revocations hold; forgetting the oldest %d", MOST, len(self._ids) - MOST)
        while len(self._ids) > MOST:
            self._ids.popitem(last=False)
