"""An event loop whose time is virtual and which runs several processes, in an order drawn from a seed.

Within one process callbacks run in the order in which they were made ready, as asyncio promises; which process goes
next is drawn for each callback. When nothing is ready, the time jumps to the next timer: no second is ever waited.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.errors import CeleriacError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context
    from random import Random

T = TypeVar("T")

WORLD = "world"
MOST_STEPS = 1_000_000


class SimulationError(CeleriacError):
    """Nothing will ever happen again, or the same goes on for ever."""


class Process:
    """Something that is scheduled by itself: what it has made ready waits in its own line.

    Attributes:
        name: for people.
        ready: callbacks to be run, in order.
        stalled: it is not run: it is dead, or stopped for a while.
        waiting: the loop knows that it has something to run.
    """

    __slots__ = ("__weakref__", "name", "ready", "stalled", "waiting")

    def __init__(self, name: str) -> None:
        """Begin with nothing to do."""
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.stalled = False
        self.waiting = False


_running: ContextVar[Process] = ContextVar("celeriac_simulated_process")


def running_process() -> Process:
    """Return the process whose code this is."""
    return _running.get()


def running_name() -> str:
    """Return the name of the process whose code this is, or of the world around them."""
    process = _running.get(None)
    return WORLD if process is None else process.name


def context_of(process: Process) -> Context:
    """Return a context in which code belongs to ``process``."""
    context = copy_context()
    context.run(_running.set, process)
    return context


class SimulatedLoop(asyncio.BaseEventLoop):
    """The loop of one simulation: it has no sockets, no threads and no signals, only coroutines, futures and timers."""

    def __init__(self, random: Random) -> None:
        """Show second 0.

        Args:
            random: draws who goes next.
        """
        self._runs = False  # asked for while the rest is made
        super().__init__()
        self.errors: list[dict[str, Any]] = []
        self.steps = 0
        self._draw = random.random
        self._now = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, Process, asyncio.TimerHandle]] = []
        self._waiting: list[Process] = []
        self._main = Process(WORLD)

    def time(self) -> float:
        """Return the seconds since the beginning."""
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override] # typeshed names the arguments
        """Put a callback into the line of the process that it belongs to."""
        process = (_running.get(self._main)) if context is None else context.get(_running, self._main)
        handle = asyncio.Handle(callback, args, self, context)
        process.ready.append(handle)
        if not process.waiting and not process.stalled:
            process.waiting = True
            self._waiting.append(process)
        return handle

    def call_soon_threadsafe(  # type: ignore[override] # as call_soon
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Do as `call_soon`: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override] # as call_soon
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call ``callback`` after ``delay`` virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override] # as call_soon
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call ``callback`` at the virtual moment ``when``."""
        process = (_running.get(self._main)) if context is None else context.get(_running, self._main)
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), process, handle))
        return handle

    def stall(self, process: Process) -> None:
        """Run nothing of ``process`` from now on; what becomes ready is kept."""
        process.stalled = True
        if process.waiting:
            process.waiting = False
            self._waiting.remove(process)

    def resume(self, process: Process) -> None:
        """Run ``process`` again, beginning with what became ready meanwhile."""
        process.stalled = False
        if process.ready and not process.waiting:
            process.waiting = True
            self._waiting.append(process)

    def run_until_complete(self, future: Coroutine[Any, Any, T]) -> T:  # type: ignore[override] # a coroutine only
        """Run ``future``, and everything that it begins, until it is done.

        Raises:
            SimulationError: it never will be.
        """
        asyncio._set_running_loop(self)  # what asyncio offers to those who write loops
        self._runs = True
        try:
            task = self.create_task(future, context=context_of(self._main))
            while not task.done():
                self._step()
            return task.result()
        finally:
            self._runs = False
            asyncio._set_running_loop(None)

    def _step(self) -> None:
        """Run one callback."""
        waiting = self._waiting
        if not waiting:
            self._advance()
            return
        place = int(self._draw() * len(waiting)) if len(waiting) > 1 else 0
        process = waiting[place]
        handle = process.ready.popleft()
        if not process.ready:
            process.waiting = False
            waiting[place] = waiting[-1]
            waiting.pop()
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise SimulationError(f"still not done after {MOST_STEPS} callbacks")
        if not handle._cancelled:
            handle._run()

    def _advance(self) -> None:
        """Let the time jump to the next timer, and make ready all that is due then."""
        timers = self._timers
        while timers and timers[0][3]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise SimulationError("everyone waits, and no timer runs")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            _, _, process, handle = heapq.heappop(timers)
            if not handle._cancelled:
                process.ready.append(handle)
                if not process.waiting and not process.stalled:
                    process.waiting = True
                    self._waiting.append(process)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what a callback raised, or a task that nobody awaited."""
        self.errors.append(context)

    def get_debug(self) -> bool:
        """Return false."""
        return False

    def is_running(self) -> bool:
        """Return whether `run_until_complete` is under way."""
        return self._runs

    def close(self) -> None:
        """Drop what waits."""
        super().close()
        self._timers.clear()
        self._waiting.clear()
