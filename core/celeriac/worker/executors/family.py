"""The children of one worker: how they come to be, how they end, and what happens when they cannot begin."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from celeriac.worker.executors import child as words
from celeriac.worker.executors import wire
from celeriac.worker.executors.child_process import ChildProcess, exit_text
from celeriac.worker.executors.frames import RECEIVE_BYTES
from celeriac.worker.executors.nursery_client import NurseryClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.worker.executors.base import PoolCalls
    from celeriac.worker.job import Job, Sentence

_log = logging.getLogger(__name__)
EARLY_DEATHS = 3
BACKOFF_SECONDS = 0.1
PUBLISH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Death:
    """Children that ended together.

    Attributes:
        children: these.
        exit: how, for people.
        ran: the jobs that ran in them.
        spared: the jobs that ran in those of them which were killed for another job's sake.
        sentenced: the jobs that they were killed for, or told to cancel, and how these end.
        unstarted: the jobs that had not begun.
    """

    children: Sequence[ChildProcess]
    exit: str
    ran: list[Job] = field(default_factory=list)
    spared: list[Job] = field(default_factory=list)
    sentenced: list[tuple[Job, Sentence]] = field(default_factory=list)
    unstarted: list[Job] = field(default_factory=list)

    def add(self, child: ChildProcess) -> None:
        """Take in the jobs of one of the children."""
        ran, unstarted = child.bury()
        for jobs, place in ((ran, self.spared if child.condemned else self.ran), (unstarted, self.unstarted)):
            for job in jobs:
                sentence = child.sentences.get(job.seq)
                if sentence is None:
                    place.append(job)
                else:
                    self.sentenced.append((job, sentence))


class FamilyListener(Protocol):
    """Who is told what becomes of the children, on the worker's loop."""

    def told(self, child: ChildProcess) -> None:
        """A child has told something, and it was taken in."""

    def died(self, death: Death) -> None:
        """Some have died."""

    def failed(self, text: str) -> None:
        """No child can begin; no more are made."""


class Family:
    """Asks the nursery for children, and for another nursery if that one ends."""

    def __init__(self, setup: dict[str, Any], calls: PoolCalls, listener: FamilyListener) -> None:
        """Describe the children by ``setup``; see `celeriac.worker.executors.child`."""
        self._setup = setup
        self._calls = calls
        self._listener = listener
        self._scratch = memoryview(bytearray(RECEIVE_BYTES))
        self._tokens = itertools.count(1)
        self._children: dict[int, ChildProcess] = {}
        self._early_deaths = 0
        self._over = False
        self._timers: set[asyncio.TimerHandle] = set()
        self._publishing: set[asyncio.Task[None]] = set()
        self._nursery: NurseryClient | None = None

    def start(self) -> None:
        """Start the nursery, on the running loop.

        Raises:
            OSError: no process can be started.
        """
        self._loop = asyncio.get_running_loop()
        self._nursery = NurseryClient(self._setup, self)

    def bear(self, max_tasks: int = 0) -> ChildProcess:
        """Return a new child, to be forked now, or a little later if the last ones died before they were ready."""
        child = ChildProcess(
            next(self._tokens),
            self._loop,
            self._calls,
            self._told,
            self._publish,
            scratch=self._scratch,
            max_tasks=max_tasks,
        )
        self._children[child.token] = child
        if self._early_deaths:
            self._later(BACKOFF_SECONDS * 2**self._early_deaths, child)
        else:
            self._ask(child)
        return child

    def kill(self, child: ChildProcess) -> None:
        """Kill a child, if it lives."""
        if self._nursery is not None and child.pid is not None and child.token in self._children:
            self._nursery.kill(child.pid)

    def show_stack(self, child: ChildProcess) -> None:
        """Have a child write the stack of each of its threads to its standard error."""
        if self._nursery is not None and child.pid is not None and child.token in self._children:
            self._nursery.show_stack(child.pid)

    async def close(self) -> None:
        """Kill every child and the nursery; end what is being published."""
        self._over = True
        for timer in self._timers:
            timer.cancel()
        if self._nursery is not None:
            await self._nursery.close()
        self._bury(list(self._children.values()), "signal 9 (SIGKILL)")
        if self._publishing:
            _, late = await asyncio.wait(self._publishing, timeout=PUBLISH_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    # what the nursery tells

    def spawned(self, token: int, pid: int) -> None:
        """Take note of a child's process."""
        self._children[token].forked(pid)

    def stillborn(self, token: int, text: str) -> None:
        """Take note that no process could be made for a child."""
        self._bury([self._children[token]], text)

    def ended(self, pid: int, code: int) -> None:
        """Take note that a process has ended; not every one is a child's."""
        self._bury([child for child in self._children.values() if child.pid == pid], exit_text(code))

    def refused(self, text: str) -> None:
        """Give up: the app cannot be preloaded."""
        self._give_up(text)

    def nursery_lost(self) -> None:
        """Make another nursery; all children have died with this one."""
        if not self._over:
            _log.warning("the process that makes the executors has ended; starting another")
            try:
                self._nursery = NurseryClient(self._setup, self)
            except OSError as error:
                self._give_up(f"no process can be started to make the executors: {error}")
        self._bury(list(self._children.values()), "killed with the process that makes the executors")

    # what the children tell

    def _told(self, child: ChildProcess) -> None:
        if child.ready:
            self._early_deaths = 0
        self._listener.told(child)

    def _publish(self, child: ChildProcess, number: int, messages: Sequence[Any]) -> None:
        task = self._loop.create_task(self._publish_and_answer(child, number, messages))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def _publish_and_answer(self, child: ChildProcess, number: int, messages: Sequence[Any]) -> None:
        try:
            receipts = await self._calls.publish(wire.messages_from_wire(messages))
        except Exception as error:  # noqa: BLE001 - whatever it is, a task waits for the answer
            child.answer((words.REFUSAL, number, type(error).__name__, str(error)))
        else:
            child.answer((words.RECEIPTS, number, wire.receipts_to_wire(receipts)))

    # births and deaths

    def _later(self, delay: float, child: ChildProcess) -> None:
        def ask() -> None:
            self._timers.discard(timer)
            if child.token in self._children:
                self._ask(child)

        timer = self._loop.call_later(delay, ask)
        self._timers.add(timer)

    def _ask(self, child: ChildProcess) -> None:
        if self._nursery is not None and not self._over:
            self._nursery.spawn(child.token, child.lanes)

    def _bury(self, dead: Sequence[ChildProcess], how: str) -> None:
        if not dead:
            return
        death = Death(dead, how)
        for child in dead:
            del self._children[child.token]
            if child.ready and child.failure:
                _log.error("an executor has ended: %s", child.failure)
            death.add(child)
        if not any(child.ready for child in dead):
            self._early_deaths += 1
            if self._early_deaths >= EARLY_DEATHS:
                failures = [child.failure for child in dead if child.failure]
                self._give_up(failures[0] if failures else f"executors end before they are ready: {how}; see stderr")
        self._listener.died(death)

    def _give_up(self, text: str) -> None:
        if not self._over:
            self._over = True
            self._listener.failed(text)
