"""The worker's end of one inbox of a child: the jobs that were put in, and those that it has not taken out yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.worker.executors import packets, wire

if TYPE_CHECKING:
    from celeriac.worker.job import Job


class Inbox:
    """Jobs given to a child over a packet socket, of which the worker keeps the reading end too.

    Attributes:
        jobs: what the child was given and has not done, by number.
    """

    def __init__(self) -> None:
        """Make the socket."""
        self.jobs: dict[int, Job] = {}
        self._begun: set[int] = set()
        self._sender, self._unread = packets.inbox_pair()

    @property
    def child_end(self) -> int:
        """The descriptor that the child gets a copy of."""
        return self._unread.fileno()

    @property
    def unstarted(self) -> int:
        """How many jobs the child has not begun, as far as it has told."""
        return len(self.jobs) - len(self._begun)

    def put(self, job: Job) -> bool:
        """Give a job to the child; return whether there was room for it now."""
        if not packets.send(self._sender, job.seq, wire.pack_assignment(job.assignment)):
            return False
        self.jobs[job.seq] = job
        return True

    def put_ends(self, readers: int) -> None:
        """Tell each of the child's ``readers`` that nothing more comes."""
        for _ in range(readers):
            packets.send_end(self._sender)

    def begun(self, seq: int) -> Job | None:
        """Take note that the child runs a job; return it, if it is of this inbox."""
        job = self.jobs.get(seq)
        if job is not None:
            self._begun.add(seq)
        return job

    def done(self, seq: int) -> Job | None:
        """Take note that the child is done with a job; return it, if it is of this inbox."""
        self._begun.discard(seq)
        return self.jobs.pop(seq, None)

    def take_first(self, limit: int) -> list[Job]:
        """Take back up to ``limit`` jobs that the child has not taken out: those put in first."""
        return self._withdraw(self._read(limit))

    def take_last(self, limit: int | None = None) -> list[Job]:
        """Take back up to ``limit`` jobs that the child has not taken out: those put in last, in the order put in."""
        found = self._read()
        kept = 0 if limit is None else max(0, len(found) - limit)
        unkept = [packet for packet in found[:kept] if not packets.send_again(self._sender, packet)]
        return self._withdraw(unkept + found[kept:])

    def bury(self) -> tuple[list[Job], list[Job]]:
        """Close both ends, once the child is dead and its words are taken in; return what it began, and what not."""
        for packet in self._read():
            packet.close()
        self._sender.close()
        self._unread.close()
        ran = [job for seq, job in self.jobs.items() if seq in self._begun]
        return ran, [job for seq, job in self.jobs.items() if seq not in self._begun]

    def _read(self, limit: int | None = None) -> list[packets.Packet]:
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
        return [self.jobs.pop(packet.seq) for packet in found]
