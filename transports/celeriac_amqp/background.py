"""Tasks that belong to somebody, and end with him, whoever else may wait for them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from celeriac.errors import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

P = ParamSpec("P")
T = TypeVar("T")


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


class Shared:
    """Steps that many may need: one task does each, and goes on when those who wait for it have no more time.

    A step that takes longer than any caller waits would otherwise be begun anew by each, and never end.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def do(self, step: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what ``work`` returns, begun now unless ``step`` is under way.

        Raises:
            ConnectionLost: it was stopped. What ``work`` raises goes through.
        """
        task = self._tasks.get(step)
        if task is None:
            task = self._tasks[step] = asyncio.get_running_loop().create_task(work())
            task.add_done_callback(partial(self._done, step))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if task.cancelled() and waiting is not None and not waiting.cancelling():
                raise ConnectionLost("the transport was closed") from None
            raise

    async def stop(self) -> None:
        """Cancel all that is under way, and wait for its end."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, step: Hashable, task: asyncio.Task[Any]) -> None:
        del self._tasks[step]
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it; whoever comes next tries again
