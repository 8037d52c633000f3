"""Tasks that belong to somebody, and end with him."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")


class Background:
    """Coroutines run on the side; what one raises is told to its owner."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        """Start with none.

        Args:
            failed: called with what a coroutine raised.
        """
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **named: P.kwargs) -> None:
        """Run ``work`` with its arguments."""
        task = asyncio.get_running_loop().create_task(self._run(partial(work, *args, **named)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel all that runs, and wait for its end. Not to be called by one of them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - nobody awaits us; the owner is told whatever it was
            self._failed(error)
