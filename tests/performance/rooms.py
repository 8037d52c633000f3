"""One task's way, room by room, on the memory transport: what each room executes for one task more.

Everything happens on one thread and one loop of virtual time, so that the same code gives the same figures. A room's
cost is the difference between twice as many tasks and so many: what happens once is in neither.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from tests.performance.counting import Cost, counting

from celeriac import App
from celeriac.client import Client
from celeriac.testing.simulation.clock import LoopClock
from celeriac.testing.simulation.loop import SimulatedLoop
from celeriac.worker.executors import wire
from celeriac.worker.executors.base import Pool
from celeriac.worker.options import WorkerOptions
from celeriac.worker.run import run_sync
from celeriac.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.worker.executors.base import PoolCalls
    from celeriac.worker.job import Job

TASKS = 50
ROOMS = {
    "publish": "one by one, from adelay() to the broker's confirm",
    "bulk": "the same by adelay_many(): a message of the 500 that go together",
    "receive": "from the broker to the pool: receive.py, admit.py",
    "hand over": "to a child and back: executors/wire.py",
    "run": "in the child: run.py",
    "settle": "from the outcome to the broker: decide.py, settle.py",
}
SENDING = ("publish", "bulk")


class Portal:
    """Stands in for `celeriac.portal.Portal`: callers live on the loop itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def may_block(self) -> None: ...
    def at_exit(self, function: Callable[[], None]) -> None: ...
    def not_at_exit(self, function: Callable[[], None]) -> None: ...


class Shelf(Pool):
    """A pool that keeps its jobs until the test runs them."""

    sync_slots = async_slots = 10_000

    def __init__(self, _app: App, _options: WorkerOptions, calls: PoolCalls) -> None:
        self.calls = calls
        self.jobs: list[Job] = []
        self.wanted = 0
        self.full = asyncio.Event()

    async def start(self) -> None: ...
    async def stop(self, grace: float) -> None: ...
    def cancel(self, seq: int, sentence: Any) -> None: ...

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        if len(self.jobs) == self.wanted:
            self.full.set()

    def recall(self, limit: int | None = None) -> list[Job]:
        del limit
        return []


def per_task() -> dict[str, dict[str, int]]:
    """Return, by room, the bytecodes and calls of one task."""
    _walk(TASKS)  # what is imported, compiled or cached at the first use
    few, many = _walk(TASKS), _walk(2 * TASKS)
    more = {room: TASKS if room in SENDING else 2 * TASKS for room in ROOMS}  # both ways of sending come together
    return {
        room: {
            "bytecodes": round((many[room].bytecodes - few[room].bytecodes) / more[room]),
            "calls": round((many[room].calls - few[room].calls) / more[room]),
        }
        for room in ROOMS
    }


def _walk(tasks: int) -> dict[str, Cost]:
    loop = SimulatedLoop(Random(1))
    try:
        return loop.run_until_complete(_walk_on(loop, tasks))
    finally:
        loop.close()


async def _walk_on(loop: SimulatedLoop, tasks: int) -> dict[str, Cost]:
    costs = {room: Cost() for room in ROOMS}
    app = App("performance", broker="memory://", clock=LoopClock(loop))

    @app.task(name="performance.add")
    def add(x: int, y: int, label: str) -> int:
        assert label
        return x + y

    app._client = client = Client(app.connect(), Portal(loop), app.codecs, publish_timeout=5)  # type: ignore[arg-type] # a stand-in
    await add.adelay(1, 1, label="opens")
    with counting(costs["publish"]):
        for number in range(tasks):
            await add.adelay(number, number, label="some text")
    with counting(costs["bulk"]):
        await add.adelay_many([(number, number, "some text") for number in range(tasks)])

    worker = Worker(app, WorkerOptions.of(app, {"pool": "thread", "name": "counted"}), make_pool=Shelf)
    shelf: Any = worker.pool
    shelf.wanted = 2 * tasks + 1
    working = asyncio.create_task(worker.run())
    with counting(costs["receive"]):
        await shelf.full.wait()
    with counting(costs["hand over"]):
        packed = [wire.pack_assignment(job.assignment) for job in shelf.jobs]
        assignments = [wire.unpack_assignment(packet) for packet in packed]
    with counting(costs["run"]):
        results = [run_sync(app, assignment, None) for assignment in assignments]
    with counting(costs["hand over"]):
        told = [wire.outcome_to_wire(result) for result in results]
        outcomes = [wire.outcome_from_wire(values) for values in told]
    with counting(costs["settle"]):
        for job, outcome in zip(shelf.jobs, outcomes, strict=True):
            shelf.calls.finished(job, outcome)
        await worker.flow.settler.drain()
    assert worker.flow.receiver.held == 0
    worker.stop()
    await working
    await client.connection.close()
    return costs
