"""One simulated process: a client or a worker on some machine, and its way to the broker and to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from celeriac.testing.simulation.loop import Process, context_of, running_process

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from contextvars import Context
    from random import Random

    from celeriac.testing.simulation.broker import Outside
    from celeriac.testing.simulation.loop import SimulatedLoop
    from celeriac.testing.simulation.weather import Weather

SLOWEST = 3.0


class Line(Protocol):
    """A connection of a process, as the world cuts it."""

    def cut(self, why: str) -> None:
        """End the connection: the broker sees it at once, the process as soon as it can."""
        ...

    def heard(self) -> None:
        """The process can be reached again: tell it what it has missed."""
        ...


class Node(Process):
    """A process that can be killed, stopped for a while, and cut off.

    Attributes:
        outside: the broker and the store.
        random: draws what happens to it.
        weather: what may happen.
        lines: its connections.
        dead: it was killed.
        gone: it was killed, or has ended.
        hardy: how much less often than others it is killed by chance.
        reachable: it is not cut off.
        silent: seconds for which it stood still or was cut off, at most.
    """

    __slots__ = (
        "_context",
        "_free",
        "_loop",
        "dead",
        "gone",
        "hardy",
        "lines",
        "on_death",
        "outside",
        "random",
        "reachable",
        "silent",
        "weather",
    )

    def __init__(self, name: str, loop: SimulatedLoop, outside: Outside, random: Random, weather: Weather) -> None:
        """Begin, alive and reachable."""
        super().__init__(name)
        self.outside = outside
        self.random = random
        self.weather = weather
        self.lines: list[Line] = []
        self.dead = self.gone = False
        self.hardy = 1.0
        self.reachable = True
        self.silent = 0.0
        self.on_death: Callable[[str], None] = lambda _: None
        self._free: list[asyncio.Future[None]] = []
        self._loop = loop
        self._context = context_of(self)

    @property
    def context(self) -> Context:
        """A context in which code is this process's own."""
        return self._context.copy()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``coroutine`` as this process."""
        return self._loop.create_task(coroutine, name=self.name, context=self.context)

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        """Call ``callback`` as this process."""
        self._loop.call_soon(callback, *args, context=self.context)

    def kill(self, why: str) -> None:
        """Run nothing of it any more: kill -9."""
        if not self.dead:
            self.dead = self.gone = True
            self._loop.stall(self)
            self.on_death(why)

    async def may_die(self, where: str) -> None:
        """Be killed here, by chance; then this never returns."""
        if self.weather.kill and self.random.random() * self.hardy < self.weather.kill:
            self.kill(f"killed {where}")
            await self._loop.create_future()

    async def travel(self, earliest: float = 0.0) -> float:
        """Go one way, not to arrive before the moment ``earliest``; return the moment of arrival."""
        random, weather = self.random, self.weather
        seconds = random.random() * weather.latency
        if weather.slow and random.random() < weather.slow:
            seconds = random.random() * SLOWEST
        when = max(earliest, self._loop.time() + seconds)
        arrived = self._loop.create_future()
        timer = self._loop.call_at(when, _arrive, arrived)
        try:
            await arrived
        finally:
            timer.cancel()
        while not self.reachable:
            free = self._loop.create_future()
            self._free.append(free)
            await free
        return when

    def part(self) -> None:
        """Be cut off: what is on its way waits."""
        self.reachable = False

    def join(self) -> None:
        """Be reachable again."""
        self.reachable = True
        free, self._free = self._free, []
        for future in free:
            _arrive(future)
        for line in list(self.lines):
            line.heard()

    def cut(self, why: str) -> None:
        """Lose every connection."""
        for line in list(self.lines):
            line.cut(why)

    def stall(self) -> None:
        """Stand still."""
        self._loop.stall(self)

    def resume(self) -> None:
        """Go on."""
        if not self.dead:
            self._loop.resume(self)


def running_node() -> Node:
    """Return the process whose code this is."""
    return cast(Node, running_process())


def _arrive(arrived: asyncio.Future[None]) -> None:
    if not arrived.done():
        arrived.set_result(None)
