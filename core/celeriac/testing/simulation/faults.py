"""What befalls a fleet by itself, moment after moment, as the weather of its seed has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.testing.simulation.node import Node
    from celeriac.testing.simulation.world import World

LONGEST = 15.0
LONGEST_OUTAGE = 8.0
QUIET = 0.7  # the share of silences that only the leases tell of, where there are leases


class Faults:
    """The faults of one world."""

    def __init__(self, world: World) -> None:
        """Befall ``world``."""
        self._world = world
        self._random = world.random
        self._story = world.story

    async def rage(self, seconds: float) -> None:
        """Let faults come for ``seconds``, then heal what can be healed."""
        weather = self._world.weather
        kinds: dict[str, Callable[[], None]] = {
            "cut": self._cut,
            "part": self._part,
            "stall": self._stall,
            "murder": self._murder,
            "restart": self._restart,
            "outage": self._outage,
            "accident": self._accident,
        }
        coming = [self._come(getattr(weather, name), fault) for name, fault in kinds.items() if getattr(weather, name)]
        tasks = [self._world.start(each) for each in coming]
        await self._world.outside.clock.sleep(seconds)
        for task in tasks:
            task.cancel()
        weather.clear()
        self._world.outside.up = True
        for node in self._world.nodes:
            self._heal(node)

    async def _come(self, every: float, fault: Callable[[], None]) -> None:
        while True:
            await self._world.outside.clock.sleep(self._random.expovariate(1 / every))
            fault()

    def _heal(self, node: Node) -> None:
        """Let a process go on that was cut off or stood still."""
        if node.gone:
            return
        if not node.reachable:
            self._story.tell("can be reached again", process=node.name)
            node.join()
        if node.stalled:
            self._story.tell("goes on", process=node.name)
            node.resume()

    def _someone(self) -> Node:
        """Return a process that there is: a worker as a rule."""
        nodes = [node for node in self._world.nodes if not node.gone]
        return self._random.choices(nodes, [1 / node.hardy for node in nodes])[0]

    def _cut(self) -> None:
        self._someone().cut("the broker closed it")

    def _part(self) -> None:
        node, seconds = self._someone(), LONGEST * self._random.random() ** 2
        self._story.tell(f"cut off for {seconds:.1f} s", process=node.name)
        node.part()
        self._unheard(node, seconds)

    def _stall(self) -> None:
        node, seconds = self._someone(), LONGEST * self._random.random() ** 2
        self._story.tell(f"stands still for {seconds:.1f} s", process=node.name)
        node.stall()
        self._unheard(node, seconds)

    def _unheard(self, node: Node, seconds: float) -> None:
        """Have the broker notice that a process is silent for too long; then let it go on."""
        node.silent += seconds
        shape = self._world.outside.shape
        if seconds > shape.heartbeat and not (shape.leased and self._random.random() < QUIET):
            self._world.later(shape.heartbeat, node.cut, "no heartbeat")
        self._world.later(seconds, self._heal, node)

    def _murder(self) -> None:
        self._someone().kill("kill -9")

    def _restart(self) -> None:
        working = self._world.working
        if working:
            worker = self._random.choice(working)
            self._story.tell("told to stop", process=worker.node.name)
            worker.stop()
            self._world.start_worker()

    def _outage(self) -> None:
        seconds = LONGEST_OUTAGE * self._random.random()
        self._story.tell(f"the broker is down for {seconds:.1f} s")
        self._world.outside.up = False
        for node in self._world.nodes:
            node.cut("the broker went down")
        self._world.later(seconds, self._up)

    def _up(self) -> None:
        self._world.outside.up = True

    def _accident(self) -> None:
        working = self._world.working
        if working:
            self._random.choice(working).accident()
