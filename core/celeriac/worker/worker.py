"""The worker's life: how it begins, how it tells that it is well, and how it ends.

What happens to a delivery in between stands in `celeriac.worker.flow`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError, WorkerFailed
from celeriac.worker import health
from celeriac.worker.burst import Burst, Load
from celeriac.worker.executors.choose import choose_pool
from celeriac.worker.flow import Flow

if TYPE_CHECKING:
    from celeriac.app import App
    from celeriac.worker.executors.base import Pool
    from celeriac.worker.flow import PoolMaker
    from celeriac.worker.observers import Observers
    from celeriac.worker.options import WorkerOptions

logger = logging.getLogger("celeriac.worker")

LOOK_EVERY = 0.02


class Worker:
    """Runs the tasks of one App from some queues, until told to stop.

    Attributes:
        options: what it was told.
        flow: its rooms.
        ready: set once it consumes.
        gave_up: it left deliveries unsettled when it ended, as the broker did not answer in time.
    """

    def __init__(self, app: App, options: WorkerOptions, *, make_pool: PoolMaker = choose_pool) -> None:
        """Wire the rooms; nothing is opened. To be constructed on the loop that runs it.

        Args:
            app: whose tasks are run.
            options: what it is told.
            make_pool: makes the executors; a simulation brings its own.

        Raises:
            ConfigurationError: the pool cannot be had: no other process could find the App, say.
        """
        self.app = app
        self.options = options
        self.ready = asyncio.Event()
        self._connection = app.connect()
        self.flow = Flow(app, options, self._connection, make_pool, self._fail)
        _refuse_unkept_limits(app, options, self.pool)
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._failure: str | None = None
        self.gave_up = False

    @property
    def pool(self) -> Pool:
        """Its executors."""
        return self.flow.pool

    @property
    def observers(self) -> Observers:
        """Who is told of which `celeriac.events.TaskEvent`."""
        return self.flow.observers

    @property
    def address(self) -> str:
        """The broker, for people to read."""
        return self._connection.address

    @property
    def store_address(self) -> str:
        """The result store, for people to read."""
        return self._connection.store_address

    def health(self) -> health.Health:
        """Return how it is now."""
        loss = self._connection.last_error
        begun = health.RUNNING if self.ready.is_set() else health.STARTING
        return health.Health(
            node=self.options.name,
            pid=os.getpid(),
            beat=self.app.clock.monotonic(),
            phase=health.STOPPING if self._stopping.is_set() else begun,
            failure=self._failure or "",
            connected=self._connection.is_up,
            error=str(loss) if loss else "",
            consuming=self.flow.receiver.consuming,
            checked=self.flow.receiver.checked_at,
            running=len(self.flow.running),
            held=self.flow.receiver.held,
        )

    def stop(self, *, at_once: bool = False) -> None:
        """Take nothing more, let what runs finish within the grace, give the rest back, and end `run`.

        Args:
            at_once: leave no grace.
        """
        if at_once:
            self._at_once.set()
        self.flow.leaving = True
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`.

        Raises:
            TransportError: the broker could not be opened; losses after that are waited out.
            ConfigurationError: the executors are processes of a worker that nobody else could reach.
            WorkerFailed: the pool could not go on.
        """
        self._refuse_unreachable()
        try:
            await self._connection.open()
            self._connection.on_lost += (self.flow.connection_lost,)
            await self._run_pool()
        finally:
            await self._connection.close()
        if self._failure is not None:
            raise WorkerFailed(self._failure)

    async def _run_pool(self) -> None:
        try:
            await self.pool.start()
            await self._work()
        finally:
            await self.pool.stop(0)

    async def _work(self) -> None:
        flow = self.flow
        rooms = [asyncio.create_task(room.run()) for room in (flow.receiver, flow.settler, flow.revocations)]
        if self.options.burst:
            burst = Burst(self._connection, self.options.queues, self.app.clock, self._load)
            rooms.append(asyncio.create_task(burst.run()))
        stopping = asyncio.create_task(self._stopping.wait())
        all_of_them: list[asyncio.Task[Any]] = [*rooms, stopping]
        try:
            self.ready.set()
            await asyncio.wait(all_of_them, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():  # all is drained, or a room has fallen over and our supervisor starts us again
                await next(room for room in rooms if room.done())
            await self._leave(rooms[0])
        finally:
            for task in all_of_them:
                task.cancel()
            await asyncio.gather(*all_of_them, return_exceptions=True)

    async def _leave(self, receiving: asyncio.Task[None]) -> None:
        """Stop in order: take nothing more, give back what has not begun, let the rest finish, write it all down."""
        self.stop()
        await self.flow.receiver.stop()
        self.flow.give_back_unstarted()
        await self._wait_for_running()
        await self.pool.stop(0)
        await self._write_down(receiving)

    async def _wait_for_running(self) -> None:
        deadline = self.app.clock.monotonic() + self.options.grace
        while self.flow.running and not self._at_once.is_set() and self.app.clock.monotonic() < deadline:
            await self.app.clock.sleep(LOOK_EVERY)

    async def _write_down(self, receiving: asyncio.Task[None]) -> None:
        """Settle what has ended; what the broker does not take in time goes back with the connection."""
        try:
            async with asyncio.timeout(self.app.conf.publish_timeout):
                await self.flow.settler.drain()
                await asyncio.wait({receiving})
        except TimeoutError:
            self.gave_up = True
            held, seconds = self.flow.receiver.held, self.app.conf.publish_timeout
            logger.warning("the broker took no results for %g s: %d deliveries go back to it unsettled", seconds, held)

    def _fail(self, text: str) -> None:
        self._failure = text
        self.stop(at_once=True)

    def _load(self) -> Load:
        flow = self.flow
        under_way = len(flow.running) + len(flow.returned) + flow.receiver.held + flow.settler.is_busy
        return Load(flow.receiver.received, under_way)

    def _refuse_unreachable(self) -> None:
        reachable = self._connection.capabilities(self.options.queues[0]).cross_process
        if self.options.pool == "process" and not reachable:
            raise ConfigurationError(
                f"a worker on {self.address} could be reached by nobody: that broker lives inside one process. "
                'Give another broker, or run it beside the callers: app.run_worker(pool="thread")'
            )


def _refuse_unkept_limits(app: App, options: WorkerOptions, pool: Pool) -> None:
    if pool.can_kill or options.soft_limits_only:
        return
    limited = [task.name for task in app.tasks.values() if task.defaults.time_limit is not None]
    if options.time_limit is not None:
        limited.append("the worker itself")
    if limited:
        raise ConfigurationError(
            f"the {options.pool} pool cannot enforce the time_limit of {', '.join(limited)}: nothing ends a thread. "
            "Use the process pool, or say --soft-limits-only (soft_limits_only=True)"
        )
