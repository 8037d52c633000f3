"""Tasks that run where they are sent: ``App(task_always_eager=True)``.

`Eager` takes the publisher's place. A message goes to a broker inside this process, and from there through the rooms of
a worker: what no queue takes is returned, arguments and results are encoded and decoded, policies are asked. Two things
differ. The executor is the thread that sends, and nobody waits for a moment: what is due later is run at once, as if
that moment had come.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
from collections import Counter, deque
from concurrent.futures import Future
from contextlib import AsyncExitStack
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from celeriac.errors import CeleriacError, TimeLimitExceeded
from celeriac.message import ACK, REQUEUE, Move, Requeue, Settlement
from celeriac.portal import awaitable
from celeriac.protocol import rebuild
from celeriac.publisher import Publisher
from celeriac.topology import DEFAULT_EXCHANGE
from celeriac.worker.admit import Facts, Refused, admit
from celeriac.worker.decide import decide
from celeriac.worker.executors.caller import run_here
from celeriac.worker.flow import policy_of
from celeriac.worker.job import Failed, TimedOut
from celeriac.worker.options import WorkerOptions
from celeriac.worker.settle import Item, Settler
from celeriac.worker.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from celeriac.app import App
    from celeriac.connection import Connection
    from celeriac.message import Delivery, Message, Receipt
    from celeriac.portal import Portal
    from celeriac.transport import Consumer
    from celeriac.worker.job import Job, Outcome

AT_ONCE = 1_000_000
MOST_RUNS = 1000
RENEW_SECONDS = 5.0
NOT_YET = datetime.min.replace(tzinfo=UTC)
BEGUN = Verdict(why="begun", action=ACK)


@dataclass(frozen=True, slots=True)
class _Errand:
    """A job for the sender's thread, and who waits for its outcome on the portal's loop."""

    job: Job
    answer: asyncio.Future[Outcome]


class _Desk:
    """The settle room, as one call has it: what it is given is written when `write` returns."""

    def __init__(self, settler: Settler) -> None:
        self._settler = settler
        self._running = asyncio.create_task(settler.run())

    async def write(self, item: Item) -> None:
        """Write, or raise what has ended the room."""
        self._settler.add(item)
        drained = asyncio.ensure_future(self._settler.drain())
        await asyncio.wait((drained, self._running), return_when=asyncio.FIRST_COMPLETED)
        if not drained.done():
            drained.cancel()
            self._running.result()

    def close(self) -> None:
        """Leave the room."""
        self._running.cancel()


class Eager:
    """A `celeriac.publisher.Publishes` that answers once what it was given has been run."""

    def __init__(self, app: App, connection: Connection, portal: Portal) -> None:
        """Run nothing yet.

        Args:
            app: whose tasks are run.
            connection: to a broker inside this process, on the portal's loop.
            portal: of this process.
        """
        self._app = app
        self._connection = connection
        self._portal = portal
        self._publisher = Publisher(connection, portal.loop, app.conf.publish_timeout)
        options = WorkerOptions.of(app, {"name": "eager@here"})
        self._policy = policy_of(app, options, exact_count=False, enforces_limits=True)
        self._alone = asyncio.Lock()  # what is ready while it is held was sent, or sent on, by its holder
        self._seq = itertools.count(1)

    def publish(self, messages: Sequence[Message]) -> Future[Sequence[Receipt]]:
        """Publish ``messages`` and run the tasks they call, on this thread, or beside a loop that runs on it.

        The future has one receipt a message, or an error: that nothing was taken, or, with ``task_eager_propagates``,
        what the first task that failed has raised.
        """
        future: Future[Sequence[Receipt]] = Future()
        future.set_running_or_notify_cancel()
        if _a_loop_runs_here():
            work = partial(copy_context().run, self._work, messages, future)
            threading.Thread(target=work, name="celeriac-eager", daemon=True).start()
        else:
            self._work(messages, future)
        return future

    # on the sender's thread

    def _work(self, messages: Sequence[Message], future: Future[Sequence[Receipt]]) -> None:
        """Be the executor of what is sent, until all of it is done."""
        inbox: queue.SimpleQueue[_Errand | None] = queue.SimpleQueue()
        flow = self._portal.start(self._flow(messages, inbox.put))
        flow.add_done_callback(lambda _: inbox.put(None))
        try:
            while (errand := inbox.get()) is not None:
                outcome = run_here(self._app, errand.job)
                self._portal.loop.call_soon_threadsafe(errand.answer.set_result, outcome)
                if isinstance(outcome, Failed) and outcome.error.mro[:1] == ("builtins.KeyboardInterrupt",):
                    raise KeyboardInterrupt  # noqa: TRY301 - someone at the keyboard means the caller too
            receipts, failure = flow.result()
        except BaseException as error:  # noqa: BLE001 - the sender is to hear of it, whatever it is
            flow.cancel()
            future.set_exception(error)
            return
        if failure is not None and self._app.conf.task_eager_propagates:
            future.set_exception(failure)
        else:
            future.set_result(receipts)

    # on the portal's loop

    async def _flow(
        self, messages: Sequence[Message], hand_over: Callable[[_Errand], None]
    ) -> tuple[Sequence[Receipt], BaseException | None]:
        """Walk every delivery of ``messages``, and of what follows from them, through the rooms."""
        ours = {message.id for message in messages if message.headers.get("task") in self._app.tasks}
        moments = {message.id: message.not_before or NOT_YET for message in messages}
        waiting: deque[Delivery] = deque()
        runs: Counter[str] = Counter()
        failure: BaseException | None = None
        async with AsyncExitStack() as stack:
            async with self._alone:
                receipts = await self._publish([replace(message, not_before=None) for message in messages])
                names = {queue.name for queue in self._app.queues}
                names |= {message.routing_key for message in messages if message.exchange == DEFAULT_EXCHANGE}
                taking = self._connection.transport.consume(sorted(names), prefetch=AT_ONCE)
                consumer = await stack.enter_async_context(taking)
                desk = _Desk(Settler(self._connection.store, self._app.clock, lambda *_: None, self._publish))
                stack.callback(desk.close)
                waiting += await _take(consumer, ours)
            while waiting:
                delivery = waiting.popleft()
                task_id = delivery.message.id
                runs[task_id] += 1
                if runs[task_id] > MOST_RUNS:
                    raise CeleriacError(_without_end(delivery))
                verdict, raised = await self._run(consumer, desk, delivery, moments[task_id], hand_over)
                failure = failure or raised
                async with self._alone:
                    verdict, moments[task_id] = _at_once(verdict, moments[task_id])
                    await desk.write(Item(consumer, delivery, verdict))
                    waiting += await _take(consumer, ours)
        return receipts, failure

    async def _run(
        self,
        consumer: Consumer,
        desk: _Desk,
        delivery: Delivery,
        moment: datetime,
        hand_over: Callable[[_Errand], None],
    ) -> tuple[Verdict, BaseException | None]:
        """Return what becomes of a delivery, and what its task has raised; ``moment`` is when it is due."""
        now = max(self._app.clock.now(), moment)
        job = admit(delivery, Facts(now), self._app.tasks, self._policy, next(self._seq))
        if isinstance(job, Refused):
            return job.verdict, None
        if not job.acks_late:
            await desk.write(Item(consumer, delivery, BEGUN))
        errand = _Errand(job, asyncio.get_running_loop().create_future())
        hand_over(errand)
        while not (await asyncio.wait([errand.answer], timeout=RENEW_SECONDS))[0]:
            await consumer.extend([delivery])
        outcome = errand.answer.result()
        return decide(job, outcome, self._policy, max(self._app.clock.now(), now)), self._raised(outcome)

    def _raised(self, outcome: Outcome) -> BaseException | None:
        match outcome:
            case Failed():
                return rebuild(outcome.error, outcome.traceback, self._app.codecs)
            case TimedOut():
                return TimeLimitExceeded(f"it ran longer than its time_limit of {outcome.limit:g} s")
            case _:
                return None

    async def _publish(self, messages: Sequence[Message]) -> Sequence[Receipt]:
        return await awaitable(self._publisher.publish(messages))


async def _take(consumer: Consumer, ours: Collection[str]) -> list[Delivery]:
    """Return the deliveries that are ours; what is there for others stays."""
    ready = await consumer.receive(AT_ONCE, 0)
    others = [Settlement(delivery.token, REQUEUE) for delivery in ready if delivery.message.id not in ours]
    if others:
        await consumer.settle(others)
    return [delivery for delivery in ready if delivery.message.id in ours]


def _at_once(verdict: Verdict, moment: datetime) -> tuple[Verdict, datetime]:
    """Return a verdict whose next run waits for nothing, and the moment for which it would have waited."""
    following = (*verdict.publish, *(verdict.action.messages if isinstance(verdict.action, Move) else ()))
    moments = [message.not_before for message in following if message.not_before is not None]
    now = tuple(replace(message, not_before=None) for message in verdict.publish)
    match verdict.action:
        case Move(messages):
            action = Move(tuple(replace(message, not_before=None) for message in messages))
            verdict = replace(verdict, action=action)
        case Requeue():
            verdict = replace(verdict, action=REQUEUE)
    return replace(verdict, publish=now), max(moment, *moments) if moments else moment


def _without_end(delivery: Delivery) -> str:
    task = delivery.message.headers.get("task")
    return f"{task} asks for yet another run after {MOST_RUNS}; run eagerly, it waits for nothing in between"


def _a_loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
