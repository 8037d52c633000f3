"""What stands outside of every simulated process: the broker and the store themselves, and what kind they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, cast

from celeriac.plugins import Plugins

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random
    from typing import Protocol

    from celeriac.errors import TransportError
    from celeriac.results import ResultStore
    from celeriac.testing.simulation.clock import LoopClock
    from celeriac.testing.simulation.ledger import Ledger
    from celeriac.testing.simulation.runs import Runs
    from celeriac.testing.simulation.story import Story
    from celeriac.transport import Capabilities, Transport

    class Forgettable(Protocol):
        """What the broker inside the process offers to tests."""

        def forget(self) -> None:
            """Drop the broker and the results of this name."""
            ...


INSIDE = "memory"  # the scheme of the broker that lives inside the process


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What kind of broker it is.

    Attributes:
        leased: a delivery is held by a lease, counted exactly and fenced, and a move is one transaction; otherwise it
            is held by the connection, settlements are not answered, and a move is a publish and an ack.
        tells_returns: one that is not leased says how often a message came back, orderly or not.
        lease: seconds.
        heartbeat: seconds after which a silent connection counts as lost.
    """

    leased: bool
    tells_returns: bool
    lease: float
    heartbeat: float

    @classmethod
    def drawn(cls, random: Random) -> Shape:
        """Return the shape of one seed."""
        return cls(
            leased=random.random() < 0.5,
            tells_returns=random.random() < 0.5,
            lease=random.choice((3.0, 6.0, 12.0)),
            heartbeat=random.choice((3.0, 9.0)),
        )

    def seen(self, capabilities: Capabilities) -> Capabilities:
        """Return what such a broker says of a queue."""
        if self.leased:
            return capabilities
        return replace(
            capabilities,
            lease=None,
            renew_every=None,
            exact_delivery_count=False,
            fenced_settle=False,
            atomic_move=False,
        )


@cache
def _plugins() -> Plugins:
    return Plugins()


class Outside:
    """The broker and the store of one simulation.

    Attributes:
        shape: what kind of broker it is.
        ledger: its truth.
        runs: what the executors did.
        story: what happened.
        clock: the virtual time.
        up: the broker can be reached.
    """

    def __init__(self, name: str, shape: Shape, ledger: Ledger, runs: Runs, story: Story, clock: LoopClock) -> None:
        """Begin empty; two simulations of a process may not have one name at the same time."""
        self.shape = shape
        self.ledger = ledger
        self.runs = runs
        self.story = story
        self.clock = clock
        self.up = True
        plugins = _plugins()
        lease = shape.lease if shape.leased else timedelta(days=1).total_seconds()
        self._url = f"{INSIDE}://{name}"
        self._broker_url = f"{self._url}?lease={lease}"
        self._transport = plugins.transport(self._url)
        self._store = plugins.result_store(self._url)
        self.forget()

    def transport(self, on_lost: Callable[[TransportError], None]) -> Transport:
        """Return a transport to the broker itself."""
        return self._transport([self._broker_url], clock=self.clock, on_lost=on_lost)

    def forget(self) -> None:
        """Drop all that the broker and the store hold."""
        cast("Forgettable", self.transport(lambda _: None)).forget()

    def store(self) -> ResultStore:
        """Return the store itself."""
        return self._store([self._url], clock=self.clock)
