"""A list that others fill without a word: looked at by asking the server to wait until there is something in it.

``BLMOVE list list RIGHT RIGHT`` takes the next message and puts it back in one step: it changes nothing, and answers
as soon as there is one. It is never cancelled: a question that nobody waits for any more is answered some time, and its
answer passed over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from celeriac.errors import TransportError

if TYPE_CHECKING:
    from celeriac_redis.pipe import Pipe

BLOCK = 5  # seconds that the server waits before it answers "nothing"; the answer shows that it lives


class Watch:
    """One list, and who sleeps until there is something in it."""

    def __init__(self, name: str, pipe: Pipe) -> None:
        """Begin when somebody sleeps.

        Args:
            name: the list's key.
            pipe: a connection of its own, not open yet.
        """
        self.pipe = pipe
        self._name = name
        self._sleepers: set[asyncio.Event] = set()
        self._somebody = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self, event: asyncio.Event) -> None:
        """Set ``event`` once there is something."""
        self._sleepers.add(event)
        self._somebody.set()

    async def close(self) -> None:
        """Stop looking."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.pipe.close()

    async def _run(self) -> None:
        try:
            await self.pipe.open()
            while True:
                await self._somebody.wait()
                found = await self.pipe.send("BLMOVE", self._name, self._name, "RIGHT", "RIGHT", BLOCK, blocking=BLOCK)
                if found is not None:
                    sleepers, self._sleepers = self._sleepers, set()
                    self._somebody.clear()
                    for sleeper in sleepers:
                        sleeper.set()
        except TransportError as error:
            self.pipe.fail(error)
