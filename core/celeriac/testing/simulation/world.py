"""One simulation: a fleet, what befalls it, and the calm in which every promise must have been kept."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from celeriac.testing.simulation.apps import GRACE, MAX_DELIVERIES, MAX_LOST, PUBLISH_TIMEOUT, QUEUES, Apps
from celeriac.testing.simulation.broker import Outside, Shape
from celeriac.testing.simulation.chance import stream
from celeriac.testing.simulation.clock import LoopClock
from celeriac.testing.simulation.faults import Faults
from celeriac.testing.simulation.fleet import ClientNode, WorkerNode
from celeriac.testing.simulation.ledger import Ledger
from celeriac.testing.simulation.node import Node
from celeriac.testing.simulation.plan import Plan
from celeriac.testing.simulation.properties import Reckoning
from celeriac.testing.simulation.runs import Runs
from celeriac.testing.simulation.weather import Weather
from celeriac.topology import Queue, Topology, dead_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from celeriac.app import App
    from celeriac.testing.simulation.loop import SimulatedLoop
    from celeriac.testing.simulation.story import Story
    from celeriac.transport import Transport

BAD_SECONDS = 20.0
SENDING = BAD_SECONDS + 0.5  # also when all is well again
PATIENCE = 600.0
LOOK_EVERY = 0.5
LEAVING = GRACE + PUBLISH_TIMEOUT + 1.0
RESTARTED_AFTER = 2.0
ROUNDS = 10
RESTARTED = 0.5  # the share of seeds in which all workers are replaced in the calm
BACK_WITHIN = 1.0


class World:
    """Everything of one simulation.

    Attributes:
        loop: where all its processes run.
        random: draws the scene and what befalls it.
        weather: how bad it is.
        story: what happened.
        outside: broker and store.
        nodes: every process that there ever was.
        workers: every worker that there ever was.
    """

    def __init__(self, seed: int, loop: SimulatedLoop, story: Story) -> None:
        """Draw the scene of ``seed``."""
        self.loop = loop
        self.story = story
        self.random = random = stream(seed, "scene")
        self.weather = Weather.drawn(random)
        self.nodes: list[Node] = []
        self.workers: list[WorkerNode] = []
        clock = LoopClock(loop)
        shape = Shape.drawn(random)
        ledger = Ledger(story, clock, max_deliveries=MAX_DELIVERIES, max_lost=MAX_LOST, exact=shape.leased)
        runs = Runs(story, clock, ledger, max_deliveries=MAX_DELIVERIES)
        self.outside = Outside("simulation", shape, ledger, runs, story, clock)
        self._seed = seed
        self._apps = Apps()
        self._clients: list[ClientNode] = []
        self._over = False

    async def run(self) -> None:
        """Bad times, good times, the end, and the reckoning."""
        self._context = copy_context()
        broker = self.outside.transport(lambda _: None)
        await broker.open()
        queues = [Queue(name, priorities=priorities) for name, priorities in QUEUES.items()]
        await broker.declare(Topology.of([*queues, *map(dead_queue, queues)]))
        self._begin()
        await Faults(self).rage(BAD_SECONDS)
        self.story.tell("from now on all is well")
        if self.random.random() < RESTARTED:
            await self._restart_all()
        await self._until_drained(broker)
        await self._stop_workers()
        Reckoning(self.outside, MAX_DELIVERIES).check()

    def later(self, seconds: float, callback: Callable[..., object], *args: object) -> None:
        """Call ``callback`` after ``seconds``, whatever becomes of the process that asks for it."""
        self.loop.call_later(seconds, callback, *args, context=self._context)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``coroutine``, as `later`."""
        return self.loop.create_task(coroutine, context=self._context)

    def start_worker(self) -> None:
        """Start one more worker, in a process of its own."""
        if not self._over:
            node = self._node(f"worker-{len(self.workers) + 1}")
            self.workers.append(WorkerNode(node, self._app_of(node), self.outside, self._start_another))

    @property
    def working(self) -> list[WorkerNode]:
        """The workers that work, and were not told to stop."""
        return [worker for worker in self.workers if not (worker.stopping or worker.ended or worker.node.dead)]

    def _begin(self) -> None:
        """Start the fleet, and let the clients begin to send."""
        for _ in range(self.random.randint(1, 3)):
            self.start_worker()
        moments = [SENDING * self.random.random() for _ in range(self.random.randint(1, 8))]
        plans = [Plan.drawn(number, self.random, QUEUES, moments) for number in range(self.random.randint(5, 25))]
        self.outside.runs.plans.update({plan.id: plan for plan in plans})
        count = self.random.randint(1, 2)
        for number in range(count):
            node = self._node(f"client-{number + 1}")
            client = ClientNode(node, self._app_of(node), self.outside, self.loop)
            client.start(plans[number::count])
            self._clients.append(client)

    def _app_of(self, node: Node) -> App:
        return self._apps.give(self.outside.clock, node.random)

    def _node(self, name: str) -> Node:
        node = Node(name, self.loop, self.outside, stream(self._seed, name), self.weather)
        node.on_death = lambda why: self._died(node, why)
        self.nodes.append(node)
        return node

    def _died(self, node: Node, why: str) -> None:
        """Let the broker see it, now or late or, if leases tell it anyway, never; put another in a worker's place."""
        self.story.tell(f"dead: {why}", process=node.name)
        shape = self.outside.shape
        if node.random.random() < 0.5:
            node.cut("its process died")
        elif not shape.leased:
            self.later(shape.heartbeat, node.cut, "its machine died")
        if any(worker.node is node for worker in self.workers):
            self._start_another()

    def _start_another(self) -> None:
        """Put a worker in the place of one that is gone, as a supervisor of processes does."""
        self.later(self.random.random() * RESTARTED_AFTER, self.start_worker)

    async def _restart_all(self) -> None:
        """Replace every worker by another, while there is still work as a rule."""
        for worker in self.working:
            self.start_worker()
            await self.outside.clock.sleep(LOOK_EVERY)
            worker.stop()
            await self.outside.clock.sleep(BACK_WITHIN)
            if worker.unstarted:
                text = f"{worker.node.name} has {worker.unstarted} unstarted jobs {BACK_WITHIN} s after it was stopped"
                self.story.broken("unstarted go back", text)

    async def _until_drained(self, broker: Transport) -> None:
        """Return once all is sent, run and settled."""
        deadline = self.loop.time() + PATIENCE
        while True:
            depths = {name: await broker.depth(name) for name in QUEUES}
            empty = not any(depth.ready or depth.running or depth.delayed for depth in depths.values())
            idle = all(client.done for client in self._clients) and not any(worker.busy for worker in self.workers)
            if empty and idle:
                return
            if self.loop.time() > deadline:
                self._tell_stuck(depths)
                return
            await self.outside.clock.sleep(LOOK_EVERY)

    def _tell_stuck(self, depths: dict[str, Any]) -> None:
        for copy in self.outside.ledger.copies.values():
            if copy.queue and copy.end is None:
                text = f"copy {copy.number} is not settled after {PATIENCE:.0f} s without faults; {depths[copy.queue]}"
                self.story.broken("nothing gets stuck", text, copy.message.id)
        for client in self._clients:
            for task_id in client.pending:
                self.story.broken("nothing gets stuck", "its caller still waits", task_id)

    async def _stop_workers(self) -> None:
        """Stop what works, and see that it ends in time and leaves nothing."""
        self._over = True
        for worker in self.workers:
            worker.stop()
        deadline = self.loop.time() + LEAVING
        while self.loop.time() < deadline and not all(worker.node.gone for worker in self.workers):
            await self.outside.clock.sleep(LOOK_EVERY)
        for worker in self.workers:
            if worker.node.dead:
                continue
            if not worker.ended:
                self.story.broken("workers end", f"{worker.node.name} still runs {LEAVING} s after it was stopped")
            if left := worker.leftovers():
                self.story.broken("nothing is left", f"{worker.node.name} has ended with {left}")

    def end(self) -> None:
        """Let every process come to an end, also the dead, so that nothing is left of them; nobody looks any more."""
        self.weather.clear()
        for node in self.nodes:
            node.reachable = True
            self.loop.resume(node)
        self.loop.run_until_complete(self._cancel_all())
        self.outside.forget()
        self._apps.take_back()

    async def _cancel_all(self) -> None:
        own = asyncio.current_task()
        for _ in range(ROUNDS):
            tasks = [task for task in asyncio.all_tasks() if task is not own]
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)
