"""Pause: a durable queue named ``<queue>.paused`` exists. That it exists is the whole of it; nothing is ever in it.

It is a quorum queue: a classic one cannot be found while its node is down, and what was paused would be worked on.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from celeriac.errors import QueueNotFound, TopologyMismatch
from celeriac_amqp.declaring import QUORUM

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac_amqp.connection import Session

PAUSED_SUFFIX = ".paused"
INTERVAL = 30.0  # seconds between looks, for a signal may be missed


class Pauses:
    """The flags, as the broker has them."""

    def __init__(self, control: Callable[[], Session]) -> None:
        """Keep the way to the broker.

        Args:
            control: the open connection.
        """
        self._control = control

    async def is_paused(self, queue: str) -> bool:
        """Return whether ``queue`` is paused."""
        try:
            async with self._control().scratch() as channel:
                await channel.call("queue_declare", queue + PAUSED_SUFFIX, passive=True)
        except QueueNotFound:
            return False
        return True

    async def pause(self, queue: str) -> None:
        """Set the flag. Idempotent."""
        with suppress(TopologyMismatch):  # set by who makes a classic queue of it
            async with self._control().scratch() as channel:
                await channel.call("queue_declare", queue + PAUSED_SUFFIX, durable=True, arguments=dict(QUORUM))

    async def resume(self, queue: str) -> None:
        """Take the flag away. Idempotent."""
        async with self._control().scratch() as channel:
            await channel.call("queue_delete", queue + PAUSED_SUFFIX)
