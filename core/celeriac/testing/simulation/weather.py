"""How bad the world of one seed is: drawn once, so that some seeds are calm and others see one fault very often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

PARTS = 0.55  # the share of the faults that one seed sees at all


@dataclass(slots=True, kw_only=True)
class Weather:
    """Chances of one call, and how many seconds lie between faults that come by themselves (0: they do not come).

    Attributes:
        latency: usual seconds of one way, at most.
        slow: a way takes up to 3 s.
        lose: the connection is lost, before the broker heard of the call or after.
        kill: the process is killed -9 there.
        unconfirmed: a publish is stored, and its confirm never comes.
        store: the result store fails, before it heard of the call or after.
        cut: the broker closes one connection.
        part: a process is cut off from the broker and the store for up to 15 s.
        stall: a whole process stands still for up to 15 s, as a paused machine does.
        murder: a process is killed -9, and another takes its place.
        restart: a worker is told to stop, and another takes its place.
        outage: the broker closes all connections and cannot be reached for up to 8 s.
        accident: an executor dies, with whatever it runs.
    """

    latency: float
    slow: float
    lose: float
    kill: float
    unconfirmed: float
    store: float
    cut: float
    part: float
    stall: float
    murder: float
    restart: float
    outage: float
    accident: float

    @classmethod
    def drawn(cls, random: Random) -> Weather:
        """Return the weather of one seed."""

        def chance(most: float) -> float:
            return most * random.random() if random.random() < PARTS else 0.0

        def every(least: float) -> float:
            return least / (0.05 + random.random()) if random.random() < PARTS else 0.0

        return cls(
            latency=random.choice((0.0005, 0.005, 0.05)),
            slow=chance(0.02),
            lose=chance(0.02),
            kill=chance(0.003),
            unconfirmed=chance(0.1),
            store=chance(0.05),
            cut=every(5),
            part=every(8),
            stall=every(8),
            murder=every(8),
            restart=every(6),
            outage=every(12),
            accident=every(4),
        )

    def clear(self) -> None:
        """Have no faults from now on."""
        for name in ("slow", "lose", "kill", "unconfirmed", "store"):
            setattr(self, name, 0.0)
        for name in ("cut", "part", "stall", "murder", "restart", "outage", "accident"):
            setattr(self, name, 0.0)
