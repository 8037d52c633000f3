"""What the processes of a simulation do: clients send and wait, workers work until they are told to stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from celeriac import states
from celeriac.client import Client
from celeriac.errors import ConnectionLost, PublishError, TransportError
from celeriac.message import Message
from celeriac.portal import awaitable
from celeriac.publisher import raise_for
from celeriac.task import NO_OPTIONS
from celeriac.testing.simulation.apps import PUBLISH_TIMEOUT, QUEUES
from celeriac.testing.simulation.plan import Kind
from celeriac.testing.simulation.pool import SimulatedPool
from celeriac.worker.options import WorkerOptions
from celeriac.worker.worker import Worker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from celeriac.app import App
    from celeriac.portal import Portal
    from celeriac.testing.simulation.broker import Outside
    from celeriac.testing.simulation.loop import SimulatedLoop
    from celeriac.testing.simulation.node import Node
    from celeriac.testing.simulation.plan import Plan

CLIENT_HARDINESS = 8.0  # a fleet whose clients are dead shows nothing


class WorkerNode:
    """One worker in its process.

    Attributes:
        node: its process.
        worker: the real one; ``None`` until it is started.
        stopping: it was told to stop.
        ended: it has stopped.
    """

    def __init__(self, node: Node, app: App, outside: Outside, exited: Callable[[], None]) -> None:
        """Start it; ``exited`` is called when it ends without having been told to."""
        self.node = node
        self.worker: Worker | None = None
        self.stopping = False
        self.ended = False
        self._app = app
        self._outside = outside
        self._exited = exited
        self.task = node.start(self._run())

    async def _run(self) -> None:
        try:
            self.worker = worker = self._new_worker()
            if self.stopping:
                worker.stop()
            self._outside.story.tell("started")
            await worker.run()
        except TransportError as error:
            self._ends_early(
                f"{type(error).__name__}: {error}", excused=not (self.worker and self.worker.ready.is_set())
            )
        except Exception as error:  # noqa: BLE001 - whatever a worker dies of is a finding
            self._ends_early(f"{type(error).__name__}: {error}", excused=False)
        else:
            if not self.stopping:
                self._ends_early("returned", excused=False)
        self.ended = self.node.gone = True
        self._outside.story.tell("ended")

    def _new_worker(self) -> Worker:
        random = self.node.random
        options = {
            "pool": "thread",
            "name": self.node.name,
            "queues": tuple(QUEUES),
            "concurrency": random.randint(1, 3),
            "coroutines": random.choice((1, 4, 100)),
        }
        pool = partial(SimulatedPool, node=self.node, runs=self._outside.runs)
        return Worker(self._app, WorkerOptions.of(self._app, options), make_pool=pool)

    def _ends_early(self, why: str, *, excused: bool) -> None:
        if not excused:
            self._outside.story.broken("workers go on", f"{self.node.name} ended by itself: {why}")
        self._exited()

    def stop(self) -> None:
        """Tell it to stop, as a signal would."""
        self.stopping = True
        if self.worker is not None:
            self.node.call_soon(self.worker.stop)

    def accident(self) -> None:
        """Let one of its executors die."""
        if self.worker is not None and isinstance(self.worker.pool, SimulatedPool):
            self.node.call_soon(self.worker.pool.accident)

    @property
    def busy(self) -> bool:
        """It runs something."""
        return not self.node.gone and self.worker is not None and bool(self.worker.flow.running)

    @property
    def unstarted(self) -> int:
        """How many jobs it has that no executor has begun, in the pool, before it or after it."""
        if self.node.gone or self.worker is None:
            return 0
        waiting = self.worker.pool.waiting if isinstance(self.worker.pool, SimulatedPool) else 0
        return waiting + len(self.worker.flow.returned)

    def leftovers(self) -> dict[str, int]:
        """Return what its maps still hold, by their names."""
        if self.worker is None:
            return {}
        flow = self.worker.flow
        found = {
            "running": len(flow.running),
            "returned": len(flow.returned),
            "held": 0 if self.worker.gave_up else len(flow.receiver._held),
            "to settle": 0 if self.worker.gave_up else len(flow.settler._items),
            "paced": flow.pace.sync_held + flow.pace.async_held,
        }
        return {name: count for name, count in found.items() if count}


class _Portal:
    """What a `Client` needs of a portal, where the caller and the loop are one."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop

    def at_exit(self, function: Callable[[], None]) -> None:
        """Do nothing: a simulation has no exit."""

    not_at_exit = at_exit


class ClientNode:
    """One client in its process: sends what is planned, and waits for some of the results."""

    def __init__(self, node: Node, app: App, outside: Outside, loop: SimulatedLoop) -> None:
        """Describe it."""
        self.node = node
        self._app = app
        self._outside = outside
        self._loop = loop
        self._sending: dict[str, asyncio.Task[None]] = {}
        node.hardy = CLIENT_HARDINESS

    def start(self, plans: list[Plan]) -> None:
        """Begin to send each of ``plans`` at its moment."""
        self._sending = {plan.id: self.node.start(self._send(plan)) for plan in plans}

    @property
    def pending(self) -> list[str]:
        """The ids of tasks that are not sent, or whose results did not come; the dead wait for nothing."""
        return [] if self.node.dead else [task_id for task_id, task in self._sending.items() if not task.done()]

    @property
    def done(self) -> bool:
        """All is sent, and every result that was waited for has come."""
        return not self.pending

    @property
    def app(self) -> App:
        """Its App, with a client that lives on the simulated loop."""
        app = self._app
        if app._client is None:
            portal = cast("Portal", _Portal(self._loop))
            app._client = Client(app.connect(), portal, app.codecs, publish_timeout=PUBLISH_TIMEOUT)
        return app

    async def _send(self, plan: Plan) -> None:
        await self._outside.clock.sleep(plan.sent)
        story, begun, silent = self._outside.story, self._loop.time(), self.node.silent
        now = self._outside.clock.now()
        plan.not_before = None if plan.countdown is None else now + timedelta(seconds=plan.countdown)
        plan.not_after = None if plan.expires is None else now + timedelta(seconds=plan.expires)
        story.tell(f"sent to {plan.queue!r}, priority {plan.priority}", plan.id)
        try:
            await self._publish(plan)
        except (PublishError, ConnectionLost) as error:
            story.tell(f"not confirmed: {type(error).__name__}", plan.id)
        except Exception as error:  # noqa: BLE001 - anything else is a finding
            story.broken("publishing", f"{type(error).__name__}: {error}", plan.id)
        else:
            plan.confirmed = True
            story.tell("confirmed", plan.id)
        took = self._loop.time() - begun - (self.node.silent - silent)
        if took > PUBLISH_TIMEOUT + 0.001:
            story.broken("publish_timeout", f"a call took {took:.3f} s", plan.id)
        if plan.confirmed and plan.revoke is not None:
            await self._revoke(plan, plan.revoke)
        if plan.confirmed and plan.waits:
            await self._wait(plan)

    async def _publish(self, plan: Plan) -> None:
        app, options = self.app, _options(plan)
        if plan.kind is Kind.UNREADABLE:
            message = Message(id=plan.id, exchange=plan.queue, routing_key=plan.queue, headers={"lang": "py"})
        elif plan.kind is Kind.EARLY:
            # as a Celery client would send it: the eta is for the worker to keep
            kept = app.sender._message(plan.kind.value, (), {}, NO_OPTIONS.with_(options), None)
            message = replace(kept, not_before=None)
        else:
            await app.asend_task(plan.kind.value, **options)
            return
        raise_for([message], await awaitable(app.client.publisher.publish([message])))

    async def _revoke(self, plan: Plan, seconds: float) -> None:
        """Revoke it after a while; an attempt that fails is not repeated."""
        await self._outside.clock.sleep(seconds)
        how = "by force" if plan.terminate else "in peace"
        try:
            await self.app.client.revoke([plan.id], terminate=plan.terminate, best_effort=False)
        except ConnectionLost as error:
            self._outside.story.tell(f"not revoked: {error}", plan.id)
        else:
            plan.revoked = self._loop.time()
            self._outside.story.tell(f"revoked {how}", plan.id)

    async def _wait(self, plan: Plan) -> None:
        """Wait for the result as a caller does."""
        record = await self.app.client.wait(plan.id)
        if record.state not in states.FINAL:
            self._outside.story.broken("waiting", f"a caller was given {record.state}", plan.id)
        plan.heard = record.state


def _options(plan: Plan) -> dict[str, Any]:
    return {
        "task_id": plan.id,
        "queue": plan.queue,
        "priority": plan.priority,
        "countdown": plan.countdown,
        "expires": plan.expires,
        "time_limit": plan.limit,
        "ignore_result": plan.kind is Kind.SILENT,
    }
