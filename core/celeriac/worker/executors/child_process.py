"""The worker's picture of one executor process: its lanes, and what it has told."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Any

from celeriac.worker.executors import child
from celeriac.worker.executors import outbox as tags
from celeriac.worker.executors.frames import FrameReader, FrameWriter
from celeriac.worker.executors.inbox import Inbox
from celeriac.worker.executors.wire import outcome_from_wire
from celeriac.worker.job import Cancelled, Interrupted

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from celeriac.worker.executors.base import PoolCalls
    from celeriac.worker.job import Job, Outcome, Sentence, Told

LOOKS_UNTIL_SILENT = 2


class ChildProcess:
    """One child, from before it is forked until it is reaped.

    Attributes:
        token: names it before it has a pid.
        pid: its process, once forked.
        ready: it has imported the app and entered its lifespan.
        heavy: it uses more memory than it may.
        leaving: it was told to end.
        failure: why it cannot work, in its own words.
        heard: it has told something since the pool's `Watch` looked.
        condemned: it is being killed for the sake of one of its jobs.
        sentences: how jobs end that it was told to cancel, or is killed for, by number.
        sync: its inbox for ``def`` jobs.
        coroutines: its inbox for ``async def`` jobs.
    """

    def __init__(
        self,
        token: int,
        loop: asyncio.AbstractEventLoop,
        calls: PoolCalls,
        told: Callable[[ChildProcess], None],
        asked: Callable[[ChildProcess, int, Sequence[Any]], None],
        *,
        scratch: memoryview,
        max_tasks: int,
    ) -> None:
        """Make the lanes.

        Args:
            token: names the child.
            loop: the worker's.
            calls: the worker's.
            told: called when the child has told something, after all of it was taken in.
            asked: called with a publish request of the child: its number and its messages, packed.
            scratch: to read into; it is the loop's, and empty again when a callback returns.
            max_tasks: it gets so many jobs; 0 is no limit.
        """
        self.token = token
        self.pid: int | None = None
        self.ready = self.heavy = self.leaving = self.condemned = False
        self.heard = False
        self.sentences: dict[int, Sentence] = {}
        self.failure: str | None = None
        self.sync, self.coroutines = Inbox(), Inbox()
        self._left = max_tasks or -1
        self._looks = 0
        self._loop = loop
        self._calls = calls
        self._told = told
        self._asked = asked
        self._scratch = scratch
        self._outbox, self._child_outbox = socket.socketpair()
        self._control, self._child_control = socket.socketpair()
        self._outbox.setblocking(False)
        self._control.setblocking(False)
        self._frames = FrameReader()
        self._writer = FrameWriter(loop, self._control)
        loop.add_reader(self._outbox, self._on_outbox)

    @property
    def lanes(self) -> list[int]:
        """The descriptors that the child gets copies of, in the order in which it wants them."""
        ends = (self._child_outbox.fileno(), self._child_control.fileno())
        return [self.sync.child_end, self.coroutines.child_end, *ends]

    @property
    def idle(self) -> bool:
        """It has nothing to do."""
        return not self.sync.jobs and not self.coroutines.jobs

    @property
    def unstarted(self) -> int:
        """How many jobs it has not begun, as far as it has told."""
        return self.sync.unstarted + self.coroutines.unstarted

    @property
    def worn(self) -> bool:
        """It gets no more jobs and is to be replaced."""
        return self.heavy or self._left == 0

    @property
    def silent(self) -> bool:
        """It has not answered although there are jobs that it could have begun: it is stopped, or something hogs it."""
        return self._looks >= LOOKS_UNTIL_SILENT

    @property
    def accepts(self) -> bool:
        """It may be given jobs."""
        return self.ready and self._left != 0 and not (self.leaving or self.heavy or self.condemned or self.silent)

    def forked(self, pid: int) -> None:
        """Take note that the child runs, and holds its own ends of the lanes."""
        self.pid = pid
        self._child_outbox.close()
        self._child_control.close()

    def give(self, job: Job) -> bool:
        """Hand a job over; return whether there was room for it now."""
        given = (self.coroutines if job.is_async else self.sync).put(job)
        self._left -= given
        return given

    def take_first(self, limit: int) -> list[Job]:
        """Take back up to ``limit`` ``def`` jobs that it has not begun, those given first."""
        return self._taken(self.sync.take_first(limit))

    def take_last(self, limit: int | None = None) -> list[Job]:
        """Take back up to ``limit`` jobs that it has not begun, of each kind those given last."""
        coroutines = self.coroutines.take_last(limit)
        sync = self.sync.take_last(None if limit is None else limit - len(coroutines))
        return self._taken([*sync, *coroutines])

    def look(self) -> bool:
        """Return whether it has just now fallen silent. To be called every now and then; it also asks for an answer."""
        unbegun = self.sync.unstarted
        could_begin = self.coroutines.unstarted or (unbegun and unbegun == len(self.sync.jobs))
        if not could_begin:
            self._looks = 0
            return False
        self._looks += 1
        if self._looks != LOOKS_UNTIL_SILENT:
            return False
        self.ping()
        return True

    def ping(self) -> None:
        """Ask for an answer."""
        self._writer.send((child.PING,))

    def has(self, seq: int) -> bool:
        """Return whether it was given this job and has not done it."""
        return seq in self.sync.jobs or seq in self.coroutines.jobs

    def cancel(self, seq: int, sentence: Sentence) -> None:
        """Tell it to cancel an ``async def`` job, which ends with ``sentence`` if it was not done before."""
        self.sentences[seq] = sentence
        self._writer.send((child.CANCEL, seq))

    def condemn(self, seq: int, sentence: Sentence) -> None:
        """Take note that it is being killed for a job, which ends with ``sentence`` if it was not done before."""
        self.sentences[seq] = sentence
        self.condemned = True

    def leave(self, threads: int) -> None:
        """Tell it to end: nothing more comes for its ``threads`` threads."""
        self.leaving = True
        self.sync.put_ends(threads)

    def answer(self, value: tuple[Any, ...]) -> None:
        """Send an answer to a publish request."""
        self._writer.send(value)

    def bury(self) -> tuple[list[Job], list[Job]]:
        """Take in its last words and close the lanes, once it is dead; return the jobs that ran and those that did not.

        A child tells that it begins before it begins: what it has not told of has not run, though it may be read.
        """
        self.leaving = True  # what it says now makes its worker submit more, and not to the dead
        self._loop.remove_reader(self._outbox)
        while self._hear():
            pass
        sync_ran, sync_unstarted = self.sync.bury()
        coroutines_ran, coroutines_unstarted = self.coroutines.bury()
        self._writer.close()
        for lane in (self._outbox, self._control, self._child_outbox, self._child_control):
            lane.close()
        return sync_ran + coroutines_ran, sync_unstarted + coroutines_unstarted

    def _taken(self, jobs: list[Job]) -> list[Job]:
        self._left += len(jobs)
        return jobs

    def _on_outbox(self) -> None:
        heard = self._hear()
        if heard:
            self._looks = 0
            self.heard = True
            self._told(self)
        elif heard == 0:
            self._loop.remove_reader(self._outbox)  # closed; that the process has ended is the nursery's to say

    def _hear(self) -> int | None:
        """Take in what the child has told; return how many bytes, ``None`` if there is nothing yet."""
        try:
            size = self._outbox.recv_into(self._scratch)
        except BlockingIOError:
            return None
        except ConnectionError:
            return 0
        for words in self._frames.feed(self._scratch[:size]):
            self._take_in(*words)
        return size

    def _take_in(self, tag: str, *values: Any) -> None:
        if tag == tags.DONE:
            seq, outcome = values
            job = self.sync.done(seq) or self.coroutines.done(seq)
            if job is not None:
                self._calls.finished(job, self._judged(seq, outcome_from_wire(outcome)))
        elif tag == tags.START:
            job = self.sync.begun(values[0]) or self.coroutines.begun(values[0])
            if job is not None:
                self._calls.started(job)
        elif tag == tags.PROGRESS:
            self._progressed(*values)
        elif tag == tags.PUBLISH:
            self._asked(self, *values)
        elif tag == tags.READY:
            self.ready = True
        elif tag == tags.FAILED:
            self.failure = values[0]
        elif tag == tags.HEAVY:
            self.heavy = True

    def _progressed(self, seq: int, *encoded: Any) -> None:
        job = self.sync.jobs.get(seq) or self.coroutines.jobs.get(seq)
        if job is not None:
            self._calls.progress(job, *encoded)

    def _judged(self, seq: int, told: Told) -> Outcome:
        """Return how a job ends that the child says is done: one that was cancelled ends with its sentence."""
        sentence = self.sentences.pop(seq, None)
        if isinstance(told, Cancelled):
            return sentence or Interrupted()
        return told


def exit_text(code: int) -> str:
    """Return what to tell people of an exit code: ``"exit code 1"``, ``"signal 9 (SIGKILL)"``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"
