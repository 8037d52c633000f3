"""The thread that does everything in one file for a whole process.

Whoever wants something appends a job and waits for its future. The thread takes all jobs that are there, answers
those that only read in one reading transaction, and does the others in one writing transaction: so many callers share
one wait for the disk. It sleeps on its doorbell and on a socket pair by which its own process wakes it.

    asleep ──job, ring, or 250 ms──▶ reading ──▶ ticket ──▶ writing ──▶ committed ──▶ ring others, answer ──▶ asleep
                                                               │
                    one job's fault: each again, by itself ◀───┴───▶ the database's fault: broken, all fail
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, TransportError
from celeriac_sqlite.database import Database
from celeriac_sqlite.doorbell import EVERYTHING, HELD, Doorbell
from celeriac_sqlite.failures import as_transport_error
from celeriac_sqlite.filesystem import make, refuse_network
from celeriac_sqlite.jobs import Answer, Job, Sleeper, deliver
from celeriac_sqlite.ticket import Ticket
from celeriac_sqlite.transactions import read, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

logger = logging.getLogger(__name__)

LOOK_AT_VERSION = 250  # ms
LOOK_AT_VERSION_DEAF = 20  # ms, where no doorbell can be hung up
LISTEN_WHEN_BUSY = 0.1  # seconds
HEAVIEST = 2000  # rows written by one transaction: some 20 ms
PATIENCE = 10  # seconds of another program's write lock before it is told


class Writer:
    """One file's thread.

    Attributes:
        path: the file.
        opened: done once the file is open, or fails with what stood in the way.
        ended: done once everything is closed.
        broken: what ended it, where it was not `stop`.
    """

    def __init__(self, path: str, on_broken: Callable[[Writer, TransportError], None]) -> None:
        """Start the thread; ``on_broken`` is called on it."""
        self.path = path
        self.opened: Future[None] = Future()
        self.ended: Future[None] = Future()
        self.broken: TransportError | None = None
        self._on_broken = on_broken
        self._lock = threading.RLock()  # a destructor that unwatches may run wherever this thread is
        self._jobs: deque[Job] = deque()
        self._sleepers: set[Sleeper] = set()
        self._asleep = False
        self._stopping = False
        self._wants_disk = False
        self._busy = 0
        self._wake, self._woken = socket.socketpair()
        self._bell: Doorbell | None = None
        self._ticket: Ticket | None = None
        self._thread = threading.Thread(target=self._run, name=f"celeriac-sqlite {Path(path).name}", daemon=True)
        self._thread.start()

    # -- called on any thread

    def submit(self, job: Job) -> None:
        """Take a job.

        Raises:
            ConnectionLost: the writer has ended.
        """
        with self._lock:
            if self.broken or self._stopping:
                raise ConnectionLost(f"{self.path}: {self.broken or 'closed'}")
            self._jobs.append(job)
            self._rouse()

    def watch(self, sleeper: Sleeper) -> None:
        """Set the sleeper's event whenever something of its kinds changes."""
        with self._lock:
            self._sleepers.add(sleeper)
            self._rouse()  # it sleeps without a limit while nobody watches

    def unwatch(self, sleeper: Sleeper) -> None:
        """Do so no more."""
        with self._lock:
            self._sleepers.discard(sleeper)

    def wait_for_disk(self) -> None:
        """Let every later commit wait for the disk."""
        self._wants_disk = True

    def stop(self) -> None:
        """End the thread once the jobs that are there are done."""
        with self._lock:
            self._stopping = True
            self._rouse()

    def join(self) -> None:
        """Wait for the thread; at once where `ended` is done."""
        self._thread.join()

    def forget(self) -> None:
        """Let go of what a forked child inherited, touching nothing of the parent's."""
        self._wake.close()
        self._woken.close()
        if self._bell is not None:
            self._bell.forget()
        if self._ticket is not None:
            self._ticket.forget()

    def _rouse(self) -> None:
        if self._asleep:
            self._asleep = False
            self._wake.send(b"\0")

    # -- called on the thread

    def _run(self) -> None:
        database, bell, ticket = None, None, None
        try:
            database, bell, ticket = self._open()
            self.opened.set_result(None)
            self._serve(database, bell, ticket)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told to all who wait
            self._break(error)
        finally:
            _shut(database, bell, ticket)
            self._wake.close()
            self._woken.close()
            self.ended.set_result(None)

    def _open(self) -> tuple[Database, Doorbell, Ticket]:
        refuse_network(self.path)
        folder = Path(f"{self.path}.d")
        bell = _hang_up(folder)
        self._bell = bell
        ticket = None
        try:
            ticket = self._ticket = Ticket(folder)
            with ticket.held():
                return Database(self.path, keep_trying=self._keep_trying), bell, ticket
        except BaseException:
            _shut(None, bell, ticket)
            raise

    def _serve(self, database: Database, bell: Doorbell, ticket: Ticket) -> None:
        poll = select.poll()
        poll.register(bell.fileno(), select.POLLIN)
        poll.register(self._woken.fileno(), select.POLLIN)
        version = database.version()
        listened = time.monotonic()
        while (jobs := self._next_jobs()) or not self._stopping:
            if self._wants_disk:
                self._wants_disk = False
                database.wait_for_disk()
            if jobs:
                self._work(database, bell, ticket, jobs)
                if time.monotonic() - listened < LISTEN_WHEN_BUSY:
                    continue
            rung: Iterable[str] = self._listen(poll, bell, 0 if jobs else self._patience(bell))
            listened = time.monotonic()
            if (now := database.version()) != version:
                version, rung = now, EVERYTHING
            self._tell(rung, ())

    def _next_jobs(self) -> list[Job]:
        with self._lock:
            jobs: list[Job] = []
            weight = 0
            while self._jobs and weight < HEAVIEST:
                jobs.append(self._jobs.popleft())
                weight += jobs[-1].weight
            self._asleep = not jobs and not self._stopping
            return jobs

    def _patience(self, bell: Doorbell) -> int | None:
        if not self._sleepers:
            return None
        return LOOK_AT_VERSION_DEAF if bell.deaf else LOOK_AT_VERSION

    def _listen(self, poll: select.poll, bell: Doorbell, milliseconds: int | None) -> set[str]:
        ready = poll.poll(milliseconds)
        with self._lock:
            self._asleep = False
        rung: set[str] = set()
        for descriptor, _ in ready:
            if descriptor == bell.fileno():
                rung = bell.answer()
            else:
                self._woken.recv(64)
        return rung

    def _work(self, database: Database, bell: Doorbell, ticket: Ticket, jobs: Sequence[Job]) -> None:
        self._busy = 0
        try:
            answers, writing = read(database, jobs)
            deliver(answers, ())
            if writing:
                answers, rings = write(database, ticket, writing)
                self._tell(rings, answers)
                if rings := rings - {HELD}:
                    bell.ring(rings)
        except Exception:
            with self._lock:  # all of them hear of it after the sessions have
                self._jobs.extendleft(reversed(jobs))
            raise

    def _tell(self, kinds: Iterable[str], answers: Sequence[Answer]) -> None:
        kinds = frozenset(kinds)
        with self._lock:
            roused = [sleeper for sleeper in tuple(self._sleepers) if sleeper.kinds & kinds]
        if answers or roused:
            deliver(answers, roused)

    def _keep_trying(self) -> bool:
        self._busy += 1
        if self._busy == PATIENCE:
            logger.warning("%s: another program has held the write lock for %d s", self.path, PATIENCE)
        return not self._stopping

    def _lost(self, error: Exception) -> ConnectionLost:
        lost = ConnectionLost(str(as_transport_error(error, self.path)))
        lost.__cause__ = error
        return lost

    def _break(self, error: Exception) -> None:
        lost = self._lost(error)
        with self._lock:
            self.broken = lost
            jobs, self._jobs = [*self._jobs], deque()
            sleepers, self._sleepers = self._sleepers, set()
        self._on_broken(self, lost)
        deliver([Answer(job, self._lost(error)) for job in jobs], sleepers)
        if not self.opened.done():
            told = as_transport_error(error, self.path)
            if told is not error:
                told.__cause__ = error
            self.opened.set_exception(told)


def _hang_up(folder: Path) -> Doorbell:
    while True:
        make(folder)
        try:
            return Doorbell(folder)
        except FileNotFoundError:  # a last user removed the folder just now
            continue


def _shut(database: Database | None, bell: Doorbell | None, ticket: Ticket | None) -> None:
    """Close all; the last user of the folder removes it."""
    try:
        if database is not None:
            database.close()
        if bell is not None:
            bell.close()
        if bell is not None and ticket is not None:
            ticket.close(is_last=lambda: not bell.others())
    except Exception:  # closing never raises
        logger.debug("closing", exc_info=True)
