"""Executors that only pretend: a job takes the time of its plan and ends as its plan says, or with its child."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from celeriac.errors import TransportError
from celeriac.protocol import ErrorData, task_message
from celeriac.testing.simulation.plan import CHILDREN, Death, Kind
from celeriac.worker.executors.base import Pool
from celeriac.worker.job import Died, Expired, Failed, Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.app import App
    from celeriac.message import Message, Receipt
    from celeriac.testing.simulation.node import Node
    from celeriac.testing.simulation.plan import Plan
    from celeriac.testing.simulation.runs import Runs
    from celeriac.worker.executors.base import PoolCalls
    from celeriac.worker.job import Job, Outcome, Sentence
    from celeriac.worker.options import WorkerOptions

REPLACED_AFTER = 0.2
DEAF = 0.2  # the share of coroutines that go on when they are cancelled


class Child:
    """One executor: a ``def`` job at a time, and coroutines beside it.

    Attributes:
        sync: its ``def`` job.
        running: all its jobs by number, with what ends each.
        alone: it is the quarantine, for one job of either sort.
    """

    def __init__(self, *, alone: bool = False) -> None:
        """Begin idle."""
        self.alone = alone
        self.sync: Job | None = None
        self.running: dict[int, tuple[Job, asyncio.TimerHandle]] = {}

    def has_room(self, job: Job, coroutines: int) -> bool:
        """Return whether ``job`` could begin here at once."""
        if self.alone or job.alone:
            return self.alone and job.alone and not self.running
        if job.is_async:
            return len(self.running) - (self.sync is not None) < coroutines
        return self.sync is None


class SimulatedPool(Pool):
    """``concurrency`` children and a quarantine, on the worker's own loop."""

    can_kill = True

    def __init__(self, app: App, options: WorkerOptions, calls: PoolCalls, *, node: Node, runs: Runs) -> None:
        """Begin with every child idle."""
        self._app = app
        self._options = options.pool_options
        self._calls = calls
        self._node = node
        self._runs = runs
        self._loop = asyncio.get_running_loop()
        self._children = [Child() for _ in range(self._options.concurrency)] + [Child(alone=True)]
        self._waiting: deque[Job] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._untold: set[int] = set()
        self._news = asyncio.Event()
        self._stopping = False

    @property
    def sync_slots(self) -> int:
        """Children."""
        return self._options.concurrency

    @property
    def async_slots(self) -> int:
        """Coroutines of all children."""
        return self._options.concurrency * self._options.coroutines

    async def start(self) -> None:
        """Be ready."""

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._runs.taken(job)
        self._waiting.append(job)
        self._fill()

    def recall(self, limit: int | None = None) -> list[Job]:
        """Return jobs that no child has begun, the last first."""
        count = len(self._waiting) if limit is None else min(limit, len(self._waiting))
        return [self._waiting.pop() for _ in range(count)]

    def cancel(self, seq: int, sentence: Sentence) -> None:
        """Cancel a coroutine, which may take no notice."""
        child = self._child_of(seq)
        if child is not None and self._node.random.random() >= DEAF:
            self._end(child, seq, sentence)

    def kill(self, seq: int, sentence: Sentence) -> None:
        """End the child that runs a job; its neighbours are interrupted."""
        child = self._child_of(seq)
        if child is not None:
            self._end(child, seq, sentence)
            self._die(child, Interrupted())

    async def stop(self, grace: float) -> None:
        """Wait for what runs, then interrupt it."""
        for job in self.recall():
            self._finish(job, Interrupted())
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while any(child.running for child in self._children):
                    self._news.clear()
                    await self._news.wait()
        self._stopping = True
        for child in self._children:
            for seq in list(child.running):
                self._end(child, seq, Interrupted())

    @property
    def waiting(self) -> int:
        """Jobs that no child has begun."""
        return len(self._waiting)

    def accident(self) -> None:
        """Let a child that runs something die."""
        busy = [child for child in self._children if child.running]
        if busy:
            child = self._node.random.choice(busy)
            self._die(child, _died(child))

    def _fill(self) -> None:
        """Begin what can begin."""
        for job in list(self._waiting):
            child = next((c for c in self._children if c.has_room(job, self._options.coroutines)), None)
            if child is not None:
                self._waiting.remove(job)
                self._begin(child, job)

    def _begin(self, child: Child, job: Job) -> None:
        if not job.is_async:
            child.sync = job
        child.running[job.seq] = (job, self._run(child, job))
        self._untold.add(job.seq)
        self._loop.call_soon(self._tell_started, job)

    def _run(self, child: Child, job: Job) -> asyncio.TimerHandle:
        """Run a job, unless it has expired while it waited."""
        if job.header.expires is not None and job.header.expires <= self._app.clock.now():
            return self._loop.call_later(0, self._leave, child, job, Expired())
        plan = self._runs.began(job)
        act = plan.act(job.header.attempt)
        return self._loop.call_later(plan.seconds, self._done, child, job, plan, act)

    def _tell_started(self, job: Job) -> None:
        """Tell that a job has begun: before it is told how it ended, whenever that is."""
        if job.seq in self._untold:
            self._untold.remove(job.seq)
            self._calls.started(job)

    def _done(self, child: Child, job: Job, plan: Plan, act: Outcome | Death) -> None:
        """Let a run end as it was planned."""
        if act is Death.WORKER:
            self._node.kill(f"killed by {plan.id}")
        elif isinstance(act, Death):
            self._die(child, _died(child))
        elif plan.kind is Kind.PARENT:
            task = self._loop.create_task(self._send(child, job, plan, act))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        else:
            self._leave(child, job, act)

    async def _send(self, child: Child, job: Job, plan: Plan, outcome: Outcome) -> None:
        """Let a task send others through its worker; it fails if they are not taken."""
        plans = [plan.child(number) for number in range(CHILDREN)]
        for each in plans:
            self._runs.plans.setdefault(each.id, each)
        messages = [
            task_message(
                id=each.id,
                task=each.kind.value,
                args=(),
                kwargs={},
                codecs=self._app.codecs,
                exchange=each.queue,
                routing_key=each.queue,
                origin=self._node.name,
                priority=each.priority,
            )
            for each in plans
        ]
        why, receipts = await self._published(messages)
        for each, receipt in zip(plans, receipts, strict=False):
            self._runs.plans[each.id].confirmed |= receipt.ok
        if why:
            told = ErrorData(type="PublishError", module="celeriac.errors", args=[why], message=why)
            outcome = Failed(error=told, traceback="", seconds=plan.seconds)
        if job.seq in child.running:
            self._leave(child, job, outcome)

    async def _published(self, messages: Sequence[Message]) -> tuple[str, Sequence[Receipt]]:
        """Publish; return what went wrong, if anything did, and the receipts."""
        try:
            receipts = await self._calls.publish(messages)
        except TransportError as error:
            return str(error), ()
        return next((str(receipt) for receipt in receipts if not receipt.ok), ""), receipts

    def _die(self, child: Child, outcome: Outcome) -> None:
        """End a child, and with it all that it runs."""
        jobs = [job for job, _ in child.running.values()]
        for _, timer in child.running.values():
            timer.cancel()
        child.running.clear()
        child.sync = None
        self._children.remove(child)
        self._loop.call_later(REPLACED_AFTER, self._replace, child.alone)
        for job in jobs:
            self._finish(job, outcome)
        self._news.set()

    def _replace(self, alone: bool) -> None:  # noqa: FBT001 - called by a timer
        self._children.append(Child(alone=alone))
        self._fill()

    def _child_of(self, seq: int) -> Child | None:
        return next((child for child in self._children if seq in child.running), None)

    def _end(self, child: Child, seq: int, outcome: Outcome) -> None:
        """End one job before its time."""
        job, timer = child.running[seq]
        timer.cancel()
        self._leave(child, job, outcome)

    def _leave(self, child: Child, job: Job, outcome: Outcome) -> None:
        child.running.pop(job.seq, None)
        if child.sync is job:
            child.sync = None
        self._finish(job, outcome)
        if not self._stopping:
            self._fill()
        self._news.set()

    def _finish(self, job: Job, outcome: Outcome) -> None:
        self._tell_started(job)
        self._runs.ended(job, outcome)
        self._calls.finished(job, outcome)


def _died(child: Child) -> Died:
    return Died(exit="signal 9 (SIGKILL)", beside=len(child.running) - 1)
