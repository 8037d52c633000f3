"""The Apps of simulated processes: one each, with a task of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.app import App
from celeriac.hookspecs import hookimpl
from celeriac.testing.simulation.plan import Kind
from celeriac.testing.simulation.store import SimulatedStore
from celeriac.testing.simulation.transport import SimulatedTransport
from celeriac.topology import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from celeriac.clock import Clock
    from celeriac.results import ResultStore
    from celeriac.transport import Transport

SCHEME = "simulated"
QUEUES = {"plain": 1, "ranked": 10}  # name and number of priorities
STRANGERS = {Kind.UNKNOWN, Kind.UNREADABLE}  # kinds that no App declares
COROUTINES = {Kind.COROUTINE, Kind.CANCELLED}
TRACKED = {Kind.COROUTINE, Kind.FLAKY}  # kinds of which it is stored that they have begun
MAX_DELIVERIES = 3
MAX_LOST = 6
GRACE = 2.0
PUBLISH_TIMEOUT = 5.0


class Simulated:
    """Plugs the simulated broker and store into an App."""

    @hookimpl
    def celeriac_transports(self) -> Mapping[str, Callable[[], type[Transport]]]:
        """Offer the simulated broker."""
        return {SCHEME: lambda: SimulatedTransport}

    @hookimpl
    def celeriac_result_stores(self) -> Mapping[str, Callable[[], type[ResultStore]]]:
        """Offer the simulated store."""
        return {SCHEME: lambda: SimulatedStore}


class Apps:
    """Gives an App to each process. Making one takes longer than many a simulation, so they are used again."""

    _spare: list[App] = []  # noqa: RUF012 - shared on purpose: what they are made of never changes

    def __init__(self) -> None:
        """Begin with none given."""
        self._given: list[App] = []

    def give(self, clock: Clock, random: Random) -> App:
        """Return an App that nobody else has in this simulation."""
        app = self._spare.pop() if self._spare else _new_app()
        app.clock, app.random, app._client = clock, random, None
        self._given.append(app)
        return app

    def take_back(self) -> None:
        """Take back all, for the next simulation."""
        self._spare += self._given
        self._given = []


def _new_app() -> App:
    app = App(
        "fleet",
        broker=f"{SCHEME}://broker",
        queues=[Queue(name, priorities=priorities) for name, priorities in QUEUES.items()],
        default_queue=next(iter(QUEUES)),
        publish_timeout=PUBLISH_TIMEOUT,
        max_deliveries=MAX_DELIVERIES,
        max_lost=MAX_LOST,
        unknown_task_delay=1.0,
        unknown_task_deadline=6.0,
        grace=GRACE,
    )
    app.plugins.register(Simulated())
    for kind in Kind:
        if kind not in STRANGERS:
            declare = app.task(
                name=kind.value,
                acks_late=kind is not Kind.ONCE,
                ignore_result=kind is Kind.SILENT,
                track_started=kind in TRACKED,
            )
            declare(_coroutine if kind in COROUTINES else _function)
    return app


def _function() -> None:
    """Stand for a task: what it does is its plan's, and is acted out by the pool."""


async def _coroutine() -> None:
    """Stand for a coroutine task; as `_function`."""
