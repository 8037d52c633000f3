"""The worker: the wiring of its rooms, and its beginning and end.

Read it as the table of contents of this folder: `Receiver` hands an arrival to `admit`; a job goes to the pool; its
outcome to `decide`; the verdict to `Settler`, the only writer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
from dataclasses import replace
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from celeriac import events, states
from celeriac.errors import ConfigurationError, WorkerFailed
from celeriac.message import ACK, REQUEUE
from celeriac.publisher import Publisher
from celeriac.worker import health
from celeriac.worker.admit import Facts, Refused, admit, counted_lost
from celeriac.worker.burst import Burst, Load
from celeriac.worker.decide import decide
from celeriac.worker.executors.base import PoolCalls
from celeriac.worker.executors.choose import choose_pool
from celeriac.worker.job import Failed, Revoked, Succeeded
from celeriac.worker.observers import Observers
from celeriac.worker.pace import Pace
from celeriac.worker.receive import Receiver
from celeriac.worker.revocations import Revocations
from celeriac.worker.settle import Item, Settler
from celeriac.worker.terminator import Terminator
from celeriac.worker.verdict import Policy, Verdict, record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from celeriac.app import App
    from celeriac.message import Message, Receipt, SettleReceipt
    from celeriac.transport import Capabilities, Consumer
    from celeriac.worker.executors.base import Pool
    from celeriac.worker.job import Job, Outcome
    from celeriac.worker.options import WorkerOptions
    from celeriac.worker.receive import Arrival

    PoolMaker = Callable[[App, WorkerOptions, PoolCalls], Pool]

logger = logging.getLogger("celeriac.worker")

LOOK_EVERY = 0.02
GIVEN_BACK = Verdict(why="given back", action=REQUEUE)


class Worker:
    """Runs the tasks of one App from some queues, until told to stop.

    Attributes:
        options: what it was told.
        observers: who is told of which `celeriac.events.TaskEvent`.
        ready: set once it consumes.
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
        self.observers = Observers()
        self.ready = asyncio.Event()
        self._connection = app.connect()
        calls = PoolCalls(
            started=self._started,
            progress=self._progressed,
            finished=self._finished,
            publish=self._publish,
            failed=self._fail,
        )
        self.pool = make_pool(app, options, calls)
        _refuse_unkept_limits(app, options, self.pool)
        enforces_limits = self.pool.can_kill or options.soft_limits_only
        exact_count = self._capabilities().exact_delivery_count
        self._policy = _policy(app, options, exact_count=exact_count, enforces_limits=enforces_limits)
        self._terminator = Terminator(self.pool)
        self._pace = Pace(self.pool.sync_slots, self.pool.async_slots)
        self._revocations = Revocations(self._connection, app.clock, app.conf.revoke_expires, self._end_revoked)
        self._receiver = Receiver(
            self._connection,
            options.queues,
            self._pace,
            app.clock,
            self._arrived,
            self._give_back_unstarted,
            self._revocations.current,
        )
        self._settler = Settler(self._connection.store, app.clock, self._settled, self._publish)
        self._publisher = Publisher(self._connection, asyncio.get_running_loop(), app.conf.publish_timeout)
        self._running: dict[int, tuple[Job, Consumer]] = {}  # by a job's number; all that is in the pool
        self._acknowledged: set[int] = set()  # of these, what the broker has forgotten already
        self._returned: list[tuple[Job, Verdict, Consumer]] = []  # came back without a word; counted at a free slot
        self._seq = itertools.count(1)
        self._grace = options.grace
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._failure: str | None = None

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
            consuming=self._receiver.consuming,
            checked=self._receiver.checked_at,
            running=len(self._running),
            held=self._receiver.held,
        )

    def stop(self, *, at_once: bool = False) -> None:
        """Take nothing more, let what runs finish within the grace, give the rest back, and end `run`.

        Args:
            at_once: leave no grace.
        """
        if at_once:
            self._at_once.set()
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
            self._connection.on_lost += (self._revocations.lost, self._give_back_unstarted)
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
        rooms = [asyncio.create_task(room.run()) for room in (self._receiver, self._settler, self._revocations)]
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
        self._stopping.set()
        await self._receiver.stop()
        self._give_back_unstarted()
        await self._wait_for_running()
        await self.pool.stop(0)
        await self._settler.drain()
        await asyncio.wait({receiving}, timeout=self.app.conf.publish_timeout)

    async def _wait_for_running(self) -> None:
        deadline = self.app.clock.monotonic() + self._grace
        while self._running and not self._at_once.is_set() and self.app.clock.monotonic() < deadline:
            await self.app.clock.sleep(LOOK_EVERY)

    def _arrived(self, arrival: Arrival) -> None:
        now = self.app.clock.now()
        delivery, consumer = arrival.delivery, arrival.consumer
        if self._stopping.is_set():  # it was on its way
            self._settler.add(Item(consumer, delivery, GIVEN_BACK))
            return
        facts = Facts(now, final=arrival.final, revoked=delivery.message.id in self._revocations)
        job = admit(delivery, facts, self.app.tasks, self._policy, next(self._seq))
        if isinstance(job, Refused):
            self._refuse(job, consumer, now)
            return
        verdict = counted_lost(job, self._policy, now)
        if verdict is None:
            self._submit(job, consumer, now)
        elif job.is_async or self._pace.has_free_slot:
            self._refuse(Refused(delivery, verdict, job.header), consumer, now)
        else:
            self._returned.append((job, verdict, consumer))

    def _submit(self, job: Job, consumer: Consumer, now: datetime) -> None:
        if self.observers.want(events.Received):
            attempt, redelivered = job.header.attempt, job.delivery.redelivered
            self.observers.tell(events.Received(**_about(job, now), attempt=attempt, redelivered=redelivered))
        self._running[job.seq] = (job, consumer)
        self._pace.took(self.app.clock.monotonic(), is_async=job.is_async)
        self.pool.submit(job)

    def _refuse(self, refused: Refused, consumer: Consumer, now: datetime) -> None:
        delivery, verdict, header = refused.delivery, refused.verdict, refused.header
        if self.observers.want(events.Refused):
            self.observers.tell(
                events.Refused(
                    task_id=delivery.message.id,
                    task=header.task if header else "",
                    queue=delivery.queue,
                    at=now,
                    why=verdict.why,
                    detail=verdict.detail,
                )
            )
        self._settler.add(Item(consumer, delivery, verdict))

    def _started(self, job: Job) -> None:
        if job.hard_limit is not None:
            self._terminator.began(job, job.hard_limit)
        if not job.acks_late:
            self._acknowledged.add(job.seq)
            self._settler.add(Item(self._running[job.seq][1], job.delivery, Verdict(why="begun", action=ACK)))
        if job.track_started:
            self._tell(job, states.STARTED, json.dumps({"hostname": self.options.name}).encode())
        if self.observers.want(events.Started):
            self.observers.tell(events.Started(**_about(job, self.app.clock.now())))

    def _progressed(self, job: Job, body: bytes, content_type: str, content_encoding: str) -> None:
        self._tell(job, states.PROGRESS, body, content_type=content_type, content_encoding=content_encoding)

    def _tell(self, job: Job, state: str, body: bytes, **more: str) -> None:
        """Have a state stored that is not final."""
        if not job.ignore_result:
            record = record_of(job.delivery, job.header, self._policy, self.app.clock.now(), state, body, **more)
            verdict = Verdict(why=state.lower(), action=None, record=record)
            self._settler.add(Item(self._running[job.seq][1], job.delivery, verdict))

    def _finished(self, job: Job, outcome: Outcome) -> None:
        _, consumer = self._running.pop(job.seq)
        if self._terminator.timers:
            self._terminator.ended(job)
        if not job.acks_late:
            job = self._as_acknowledged(job)
        now = self.app.clock.now()
        verdict = decide(job, outcome, self._policy, now)
        seconds = outcome.seconds if isinstance(outcome, Succeeded | Failed) else None
        self._pace.gave(self.app.clock.monotonic(), is_async=job.is_async, seconds=seconds)
        kind = events.Finished if isinstance(outcome, Succeeded) else events.Unsuccessful
        if self.observers.want(kind):
            traceback = outcome.traceback if isinstance(outcome, Failed) else None
            about = {**_about(job, now), "why": verdict.why, "shown": verdict.detail}
            self.observers.tell(kind(**about, seconds=seconds, traceback=traceback))
        self._settler.add(Item(consumer, job.delivery, verdict))
        while self._returned and self._pace.has_free_slot:
            returned, why, consumer = self._returned.pop()
            self._refuse(Refused(returned.delivery, why, returned.header), consumer, now)

    def _settled(self, item: Item, receipt: SettleReceipt) -> None:
        self._receiver.settled(item.consumer, item.delivery)
        if self.observers.want(events.Settled):
            message = item.delivery.message
            self.observers.tell(
                events.Settled(
                    task_id=message.id,
                    task=str(message.headers.get("task", "")),
                    queue=item.delivery.queue,
                    at=self.app.clock.now(),
                    receipt=receipt.value,
                )
            )

    def _give_back_unstarted(self) -> None:
        """Give back what no executor has begun: a slot is busy for long, the connection is lost, or we leave."""
        for job in self.pool.recall():
            self._pace.gave_back(is_async=job.is_async)
            self._settler.add(Item(self._running.pop(job.seq)[1], job.delivery, GIVEN_BACK))
        for job, _, consumer in self._returned:
            self._settler.add(Item(consumer, job.delivery, GIVEN_BACK))
        self._returned.clear()

    def _end_revoked(self, ids: frozenset[str], force: bool) -> None:  # noqa: FBT001 - of a callback
        """End what is revoked and in the pool: what has not begun, coroutines, and, by force, everything."""
        ended = {seq: job for seq, (job, _) in self._running.items() if job.header.id in ids}
        if not ended:
            return
        for job in sorted(self.pool.recall(), key=attrgetter("seq")):
            if ended.pop(job.seq, None) is None:
                self.pool.submit(job)
            else:
                self._finished(job, Revoked(terminated=False))
        end = self._terminator.end if force else self._terminator.ask
        for job in ended.values():
            end(job, Revoked(terminated=force))

    def _as_acknowledged(self, job: Job) -> Job:
        """Return a job that is acknowledged when it begins; if it never began, as one that still must be."""
        if job.seq in self._acknowledged:
            self._acknowledged.discard(job.seq)
            return job
        return replace(job, acks_late=True)

    async def _publish(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        return await asyncio.wrap_future(self._publisher.publish(messages))

    def _fail(self, text: str) -> None:
        self._failure = text
        self.stop(at_once=True)

    def _load(self) -> Load:
        under_way = len(self._running) + len(self._returned) + self._receiver.held + self._settler.is_busy
        return Load(self._receiver.received, under_way)

    def _capabilities(self) -> Capabilities:
        return self._connection.capabilities(self.options.queues[0])

    def _refuse_unreachable(self) -> None:
        if self.options.pool == "process" and not self._capabilities().cross_process:
            raise ConfigurationError(
                f"a worker on {self.address} could be reached by nobody: that broker lives inside one process. "
                'Give another broker, or run it beside the callers: app.run_worker(pool="thread")'
            )


def _about(job: Job, now: datetime) -> dict[str, Any]:
    return {"task_id": job.header.id, "task": job.header.task, "queue": job.delivery.queue, "at": now}


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


def _policy(app: App, options: WorkerOptions, *, exact_count: bool, enforces_limits: bool) -> Policy:
    conf = app.conf
    return Policy(
        node=options.name,
        result_expires=timedelta(seconds=conf.result_expires),
        max_deliveries=conf.max_deliveries,
        max_lost=conf.max_lost,
        unknown_delay=timedelta(seconds=conf.unknown_task_delay),
        unknown_deadline=timedelta(seconds=conf.unknown_task_deadline),
        acks_late=conf.acks_late,
        ignore_result=conf.ignore_result,
        track_started=conf.track_started,
        limits=(options.time_limit, options.soft_time_limit),
        enforces_limits=enforces_limits,
        exact_count=exact_count,
    )
