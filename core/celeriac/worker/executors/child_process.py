"""The worker's picture of one executor process: its lanes, and the jobs it was given."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Any

from celeriac.worker.executors import child, packets, wire
from celeriac.worker.executors import outbox as tags
from celeriac.worker.executors.frames import FrameReader, FrameWriter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from celeriac.worker.executors.base import PoolCalls
    from celeriac.worker.job import Job


class ChildProcess:
    """One child, from before it is forked until it is reaped.

    Attributes:
        token: names it before it has a pid.
        pid: its process, once forked.
        ready: it has imported the app and entered its lifespan.
        heavy: it uses more memory than it may.
        leaving: it was told to end.
        silent: it has not answered while jobs waited in front of it.
        heard: it has told something since this was last set to false.
        failure: why it cannot work, in its own words.
        sync: ``def`` jobs that it was given and has not done, by number.
        unstarted: how many of these it has not begun, as far as it has told.
        coroutines: ``async def`` jobs that it was given and has not done, by number.
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
        self.ready = self.heavy = self.leaving = self.silent = self.heard = False
        self.failure: str | None = None
        self.sync: dict[int, Job] = {}
        self.unstarted = 0
        self.coroutines: dict[int, Job] = {}
        self._begun: set[int] = set()
        self._left = max_tasks or -1
        self._loop = loop
        self._calls = calls
        self._told = told
        self._asked = asked
        self._scratch = scratch
        self._inbox, self._unread = packets.inbox_pair()
        self._outbox, self._child_outbox = socket.socketpair()
        self._control, self._child_control = socket.socketpair()
        self._outbox.setblocking(False)
        self._control.setblocking(False)
        self._frames = FrameReader()
        self._writer = FrameWriter(loop, self._control)
        loop.add_reader(self._outbox, self._on_outbox)

    @property
    def lanes(self) -> list[int]:
        """The descriptors that the child gets copies of: inbox, outbox, control."""
        return [self._unread.fileno(), self._child_outbox.fileno(), self._child_control.fileno()]

    @property
    def idle(self) -> bool:
        """It has nothing to do."""
        return not self.sync and not self.coroutines

    @property
    def worn(self) -> bool:
        """It gets no more jobs and is to be replaced."""
        return self.heavy or not self._left

    @property
    def accepts(self) -> bool:
        """It may be given jobs."""
        return self.ready and not self.leaving and not self.heavy and self._left != 0

    def forked(self, pid: int) -> None:
        """Take note that the child runs, and holds its own ends of the lanes."""
        self.pid = pid
        self._child_outbox.close()
        self._child_control.close()

    def give(self, job: Job) -> bool:
        """Hand a job over; return whether there was room for it now."""
        packed = wire.pack_assignment(job.assignment)
        if job.is_async:
            self._writer.send((child.JOB, packed))
            self.coroutines[job.seq] = job
        elif packets.send(self._inbox, job.seq, packed):
            self.sync[job.seq] = job
            self.unstarted += 1
        else:
            return False
        self._left -= 1
        return True

    def take_first(self, limit: int) -> list[Job]:
        """Take back up to ``limit`` of the ``def`` jobs that it has not begun, the first given."""
        return self._withdraw(self._unread_packets(limit))

    def take_last(self, limit: int | None = None) -> list[Job]:
        """Take back up to ``limit`` of the ``def`` jobs that it has not begun, the last given; in the order given."""
        found = self._unread_packets()
        kept = 0 if limit is None else max(0, len(found) - limit)
        for packet in found[:kept]:
            packets.send_again(self._inbox, packet)
        return self._withdraw(found[kept:])

    def leave(self, threads: int) -> None:
        """Tell it to end: nothing more comes for its ``threads`` threads."""
        self.leaving = True
        for _ in range(threads):
            packets.send_end(self._inbox)

    def answer(self, value: object) -> None:
        """Send an answer to a publish request."""
        self._writer.send(value)

    def bury(self) -> tuple[list[Job], list[Job]]:
        """Take in its last words and close the lanes, once it is dead; return the jobs that ran and those that did not.

        A job that it had taken out of its inbox counts as one that ran.
        """
        self.leaving = True  # what it says now makes its worker submit more, and not to the dead
        self._loop.remove_reader(self._outbox)
        while self._hear():
            pass
        unstarted = self.take_last()
        unstarted += [job for seq, job in self.coroutines.items() if seq not in self._begun]
        ran = [*self.sync.values(), *(job for seq, job in self.coroutines.items() if seq in self._begun)]
        self._writer.close()
        for lane in (self._inbox, self._unread, self._outbox, self._control, self._child_outbox, self._child_control):
            lane.close()
        return ran, unstarted

    def _unread_packets(self, limit: int | None = None) -> list[packets.Packet]:
        found: list[packets.Packet] = []
        while limit is None or len(found) < limit:
            packet = packets.receive(self._unread, wait=False)
            if packet is None or packet is packets.END:
                break
            found.append(packet)
        return found

    def _withdraw(self, found: list[packets.Packet]) -> list[Job]:
        for packet in found:
            packet.close()
        self._left += len(found)
        self.unstarted -= len(found)
        return [self.sync.pop(packet.seq) for packet in found]

    def _on_outbox(self) -> None:
        heard = self._hear()
        if heard:
            self.heard = True
            self.silent = False
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
            self._begun.discard(seq)
            job = self.sync.pop(seq, None) or self.coroutines.pop(seq)
            self._calls.finished(job, wire.outcome_from_wire(outcome))
        elif tag == tags.START:
            self._begin(values[0])
        elif tag == tags.PUBLISH:
            self._asked(self, *values)
        elif tag == tags.READY:
            self.ready = True
        elif tag == tags.FAILED:
            self.failure = values[0]
        elif tag == tags.HEAVY:
            self.heavy = True

    def _begin(self, seq: int) -> None:
        self._begun.add(seq)
        job = self.sync.get(seq)
        if job is None:
            job = self.coroutines[seq]
        else:
            self.unstarted -= 1
        self._calls.started(job)


def exit_text(code: int) -> str:
    """Return what to tell people of an exit code: ``"exit code 1"``, ``"signal 9 (SIGKILL)"``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"
