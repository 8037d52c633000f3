"""The way of a delivery through the worker, from room to room, forward only.

Read it as the table of contents of this folder: `Receiver` hands an arrival to `admit`; a job goes to the pool; its
outcome to `decide`; the verdict to `Settler`, the only writer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from celeriac import events, states
from celeriac.message import ACK, REQUEUE
from celeriac.portal import awaitable
from celeriac.publisher import Publisher
from celeriac.worker.admit import Facts, Refused, admit, counted_lost
from celeriac.worker.decide import decide
from celeriac.worker.executors.base import PoolCalls
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
    from celeriac.connection import Connection
    from celeriac.message import Message, Receipt, SettleReceipt
    from celeriac.transport import Consumer
    from celeriac.worker.executors.base import Pool
    from celeriac.worker.job import Job, Outcome
    from celeriac.worker.options import WorkerOptions
    from celeriac.worker.receive import Arrival

    PoolMaker = Callable[[App, WorkerOptions, PoolCalls], Pool]

GIVEN_BACK = Verdict(why="given back", action=REQUEUE)


class Flow:
    """The rooms of one worker, wired.

    Attributes:
        pool: the executors.
        observers: who is told of which `celeriac.events.TaskEvent`.
        receiver: the first room.
        settler: the last.
        revocations: what is not to be run.
        pace: how much is taken ahead.
        running: by a job's number, all that is in the pool, and who delivered it.
        returned: jobs that came back without a word, whose loss is counted when a slot is free for them.
        leaving: what arrives goes back at once.
    """

    def __init__(
        self,
        app: App,
        options: WorkerOptions,
        connection: Connection,
        make_pool: PoolMaker,
        failed: Callable[[str], None],
    ) -> None:
        """Wire the rooms; nothing is opened. To be constructed on the loop that runs it.

        Args:
            app: whose tasks are run.
            options: what the worker is told.
            connection: opened and supervised elsewhere.
            make_pool: makes the executors.
            failed: called when the pool cannot go on.

        Raises:
            ConfigurationError: the pool cannot be had: no other process could find the App, say.
        """
        self._app = app
        self._options = options
        calls = PoolCalls(
            started=self._started,
            progress=self._progressed,
            finished=self._finished,
            publish=self._publish,
            failed=failed,
        )
        self.pool = make_pool(app, options, calls)
        self.observers = Observers()
        _ = app.middlewares  # one that cannot stand where it should is told before anything is taken
        for observer, kind in app.hooks.observers():
            self.observers.add(observer, kind)
        self._policy = policy_of(
            app,
            options,
            exact_count=connection.capabilities(options.queues[0]).exact_delivery_count,
            enforces_limits=self.pool.can_kill or options.soft_limits_only,
        )
        self._terminator = Terminator(self.pool)
        self.pace = Pace(self.pool.sync_slots, self.pool.async_slots)
        self.revocations = Revocations(connection, app.clock, app.conf.revoke_expires, self._end_revoked)
        self.receiver = Receiver(
            connection,
            options.queues,
            self.pace,
            app.clock,
            self._arrived,
            self.give_back_unstarted,
            self.revocations.current,
        )
        self.settler = Settler(connection.store, app.clock, self._settled, self._publish, self._is_ours)
        self._publisher = Publisher(connection, asyncio.get_running_loop(), app.conf.publish_timeout)
        self.running: dict[int, tuple[Job, Consumer]] = {}
        self.returned: list[tuple[Job, Verdict, Consumer]] = []
        self.leaving = False
        self._acknowledged: set[int] = set()  # of the jobs that run, what the broker has forgotten already
        self._seq = itertools.count(1)

    def connection_lost(self) -> None:
        """Take note that nothing of what was delivered can be settled any more."""
        self.revocations.lost()
        self.give_back_unstarted()

    def _arrived(self, arrival: Arrival) -> None:
        now = self._app.clock.now()
        delivery, consumer = arrival.delivery, arrival.consumer
        if self.leaving:  # it was on its way
            self.settler.add(Item(consumer, delivery, GIVEN_BACK))
            return
        facts = Facts(now, final=arrival.final, revoked=delivery.message.id in self.revocations)
        job = admit(delivery, facts, self._app.tasks, self._policy, next(self._seq))
        if isinstance(job, Refused):
            self._refuse(job, consumer, now)
            return
        verdict = counted_lost(job, self._policy, now)
        if verdict is None:
            self._submit(job, consumer, now)
        elif job.is_async or self.pace.has_free_slot:
            self._refuse(Refused(delivery, verdict, job.header), consumer, now)
        else:
            self.returned.append((job, verdict, consumer))

    def _submit(self, job: Job, consumer: Consumer, now: datetime) -> None:
        if self.observers.want(events.Received):
            self.observers.tell(events.Received(**_about(job, now), redelivered=job.delivery.redelivered))
        self.running[job.seq] = (job, consumer)
        self.pace.took(self._app.clock.monotonic(), is_async=job.is_async)
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
        self.settler.add(Item(consumer, delivery, verdict))

    def _started(self, job: Job) -> None:
        if job.hard_limit is not None:
            self._terminator.began(job, job.hard_limit)
        if not job.acks_late:
            self._acknowledged.add(job.seq)
            self.settler.add(Item(self.running[job.seq][1], job.delivery, Verdict(why="begun", action=ACK)))
        if job.track_started:
            self._tell(job, states.STARTED, json.dumps({"hostname": self._options.name}).encode())
        if self.observers.want(events.Started):
            self.observers.tell(events.Started(**_about(job, self._app.clock.now())))

    def _progressed(self, job: Job, body: bytes, content_type: str, content_encoding: str) -> None:
        self._tell(job, states.PROGRESS, body, content_type=content_type, content_encoding=content_encoding)

    def _tell(self, job: Job, state: str, body: bytes, **more: str) -> None:
        """Have a state stored that is not final."""
        if not job.ignore_result:
            record = record_of(job.delivery, job.header, self._policy, self._app.clock.now(), state, body, **more)
            verdict = Verdict(why=state.lower(), action=None, record=record)
            self.settler.add(Item(self.running[job.seq][1], job.delivery, verdict))

    def _finished(self, job: Job, outcome: Outcome) -> None:
        _, consumer = self.running.pop(job.seq)
        if self._terminator.timers:
            self._terminator.ended(job)
        if not job.acks_late:
            job = self._as_acknowledged(job)
        now = self._app.clock.now()
        verdict = decide(job, outcome, self._policy, now)
        seconds = outcome.seconds if isinstance(outcome, Succeeded | Failed) else None
        self.pace.gave(self._app.clock.monotonic(), is_async=job.is_async, seconds=seconds)
        kind = events.Finished if isinstance(outcome, Succeeded) else events.Unsuccessful
        if self.observers.want(kind):
            traceback = outcome.traceback if isinstance(outcome, Failed) else None
            about = {**_about(job, now), "why": verdict.why, "shown": verdict.detail}
            self.observers.tell(kind(**about, seconds=seconds, traceback=traceback))
        self.settler.add(Item(consumer, job.delivery, verdict))
        while self.returned and self.pace.has_free_slot:
            returned, why, consumer = self.returned.pop()
            self._refuse(Refused(returned.delivery, why, returned.header), consumer, now)

    def _is_ours(self, item: Item) -> bool:
        return self.receiver.holds(item.consumer, item.delivery)

    def _settled(self, item: Item, receipt: SettleReceipt) -> None:
        self.receiver.settled(item.consumer, item.delivery)
        if self.observers.want(events.Settled):
            message = item.delivery.message
            self.observers.tell(
                events.Settled(
                    task_id=message.id,
                    task=str(message.headers.get("task", "")),
                    queue=item.delivery.queue,
                    at=self._app.clock.now(),
                    receipt=receipt.value,
                )
            )

    def give_back_unstarted(self) -> None:
        """Give back what no executor has begun: a slot is busy for long, the connection is lost, or we leave."""
        for job in self.pool.recall():
            self.pace.gave_back(is_async=job.is_async)
            self.settler.add(Item(self.running.pop(job.seq)[1], job.delivery, GIVEN_BACK))
        for job, _, consumer in self.returned:
            self.settler.add(Item(consumer, job.delivery, GIVEN_BACK))
        self.returned.clear()

    def _end_revoked(self, ids: frozenset[str], force: bool) -> None:  # noqa: FBT001 - of a callback
        """End what is revoked and in the pool: what has not begun, coroutines, and, by force, everything."""
        ended = {seq: job for seq, (job, _) in self.running.items() if job.header.id in ids}
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
        return await awaitable(self._publisher.publish(messages))


def _about(job: Job, now: datetime) -> dict[str, Any]:
    header = job.header
    return {
        "task_id": header.id,
        "task": header.task,
        "queue": job.delivery.queue,
        "at": now,
        "attempt": header.attempt,
    }


def policy_of(app: App, options: WorkerOptions, *, exact_count: bool, enforces_limits: bool) -> Policy:
    """Return what the pure rooms are to know of a worker's settings."""
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
