"""When a worker that is to drain its queues is done: nothing is ready there, and nothing of its own is under way.

Messages that wait for their moment are not waited for, nor is what other workers run, nor a queue that is paused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.clock import Clock
    from celeriac.connection import Connection

LOOK_EVERY = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """How many deliveries a worker has received so far, and how many things of it are under way."""

    received: int
    under_way: int


class Burst:
    """A room that is left when the queues are drained."""

    def __init__(self, connection: Connection, queues: Sequence[str], clock: Clock, load: Callable[[], Load]) -> None:
        """Look at nothing yet.

        Args:
            connection: open, and supervised elsewhere.
            queues: names of the worker's queues.
            clock: where the time comes from.
            load: of the worker, now.
        """
        self._connection = connection
        self._queues = queues
        self._clock = clock
        self._load = load

    async def run(self) -> None:
        """Return when they are drained.

        What is between the broker and the worker is seen by neither, so two looks must find the same.
        """
        before: Load | None = None
        while True:
            await self._clock.sleep(LOOK_EVERY)
            load = self._load()
            idle = not load.under_way and await self._are_empty()
            if idle and load == before == self._load():
                return
            before = load if idle else None

    async def _are_empty(self) -> bool:
        try:
            await self._connection.ready()
            depths = [await self._connection.transport.depth(queue) for queue in self._queues]
        except TransportError:
            return False
        return all(depth.ready == 0 or depth.paused for depth in depths)
