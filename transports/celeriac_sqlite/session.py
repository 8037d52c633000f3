"""One transport's or store's use of its file's writer, which it shares with all others of its process."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConnectionLost
from celeriac_sqlite.jobs import Job, Sleeper
from celeriac_sqlite.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celeriac.errors import TransportError
    from celeriac_sqlite.address import Address
    from celeriac_sqlite.jobs import Look, Operation


class Session:
    """Open from `Session.open` to `close`, or until the database is lost.

    It belongs to the event loop that opened it, and to the process: after a fork it is lost.
    """

    def __init__(self, writer: Writer, path: str, on_lost: Callable[[TransportError], None]) -> None:
        """Use ``writer``; ``on_lost`` is called on the running loop."""
        self._writer = writer
        self._path = path
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._events: set[asyncio.Event] = set()
        self._error: TransportError | None = None

    @classmethod
    async def open(cls, address: Address, on_lost: Callable[[TransportError], None]) -> Session:
        """Join the file's writer, starting it if need be.

        Raises:
            ConnectionLost: the folder is missing, the disk is full, ...
            AccessRefused: we may not, or it is not our database.
        """
        writer = _writers.join(address.path)
        try:
            await asyncio.shield(asyncio.wrap_future(writer.opened))
            session = cls(writer, address.path, on_lost)
            _writers.add(writer, session)
        except BaseException:
            await _left(writer, None)
            raise
        if address.full:
            writer.wait_for_disk()
        return session

    @property
    def is_open(self) -> bool:
        """Whether it may be used."""
        return self._error is None and not self.is_inherited

    @property
    def is_inherited(self) -> bool:
        """Whether it was opened before a fork, and is the parent's."""
        return self._process != os.getpid()

    def read(self, look: Look, payload: Any) -> asyncio.Future[Any]:
        """Have ``look(database, payload)`` done in a reading transaction."""
        return self._submit(look, None, payload, 1)

    def write(
        self,
        operation: Operation,
        payload: Any,
        *,
        look: Look | None = None,
        weight: int = 1,
        recallable: bool = False,
    ) -> asyncio.Future[Any]:
        """Have ``operation`` done, together with others, in a writing transaction.

        Cancelling the future does not stop it, unless it is ``recallable`` and not begun. Where there is a ``look``,
        and it answers, nothing is written.
        """
        return self._submit(look, operation, payload, weight, recallable=recallable)

    def _submit(
        self, look: Look | None, operation: Operation | None, payload: Any, weight: int, *, recallable: bool = False
    ) -> asyncio.Future[Any]:
        self.refuse_closed()
        job = Job(asyncio.get_running_loop().create_future(), payload, look, operation, weight, recallable)
        self._writer.submit(job)
        return job.future

    @contextmanager
    def watch(self, *kinds: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever things of ``kinds`` change, and when the session ends."""
        self.refuse_closed()
        sleeper = Sleeper(asyncio.get_running_loop(), asyncio.Event(), frozenset(kinds))
        self._writer.watch(sleeper)
        self._events.add(sleeper.event)
        try:
            yield sleeper.event
        finally:
            self._events.discard(sleeper.event)
            self._writer.unwatch(sleeper)

    async def close(self) -> None:
        """Leave the writer; the last one to leave ends it."""
        if self.is_open:
            self._finish(ConnectionLost(f"{self._path}: closed"))
            await _left(self._writer, self)

    def lose(self, error: TransportError) -> None:
        """Be told, on any thread, that the writer has ended."""
        try:
            self._loop.call_soon_threadsafe(self._lost, error)
        except RuntimeError:  # the loop is closed: nobody is left to tell
            return

    def _lost(self, error: TransportError) -> None:
        if self.is_open:
            self._finish(error)
            self._on_lost(error)

    def _finish(self, error: TransportError) -> None:
        self._error = error
        for event in self._events:
            event.set()

    def refuse_closed(self) -> None:
        """Raise `ConnectionLost` if it may not be used."""
        if self.is_inherited:
            raise ConnectionLost(f"{self._path}: opened before a fork; open it again")
        if self._error is not None:
            raise ConnectionLost(str(self._error)) from self._error


class _Writers:
    """The writers of this process, by file."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a destructor that leaves may run wherever this thread is
        self._writers: dict[str, Writer] = {}
        self._users: dict[Writer, int] = {}
        self._sessions: dict[Writer, set[Session]] = {}
        self._inherited: list[Writer] = []

    def join(self, path: str) -> Writer:
        """Return the file's writer with one user more."""
        with self._lock:
            writer = self._writers.get(path)
            if writer is None:
                writer = self._writers[path] = Writer(path, self._broken)
                self._users[writer], self._sessions[writer] = 0, set()
            self._users[writer] += 1
            return writer

    def add(self, writer: Writer, session: Session) -> None:
        """Tell ``session`` when ``writer`` ends.

        Raises:
            ConnectionLost: it has ended.
        """
        with self._lock:
            if writer.broken is not None:
                raise ConnectionLost(str(writer.broken)) from writer.broken
            self._sessions[writer].add(session)

    def leave(self, writer: Writer, session: Session | None) -> bool:
        """Take one user away; return whether the writer ends, as this was the last."""
        with self._lock:
            if writer not in self._users:
                return True  # it broke
            self._users[writer] -= 1
            if session is not None:
                self._sessions[writer].discard(session)
            if self._users[writer]:
                return False
            self._drop(writer)
        writer.stop()
        return True

    def forget(self) -> None:
        """Begin anew in a forked child; the parent's connections are kept unused, as closing one would undo locks."""
        self._lock = threading.RLock()
        for writer in self._writers.values():
            writer.forget()
            self._inherited.append(writer)
        self._writers, self._users, self._sessions = {}, {}, {}

    def _broken(self, writer: Writer, error: TransportError) -> None:
        with self._lock:
            sessions = self._drop(writer)
        for session in sessions:
            session.lose(error)

    def _drop(self, writer: Writer) -> set[Session]:
        if self._writers.get(writer.path) is writer:
            del self._writers[writer.path]
        self._users.pop(writer, None)
        return self._sessions.pop(writer, set())


async def _left(writer: Writer, session: Session | None) -> None:
    if _writers.leave(writer, session):
        await asyncio.shield(asyncio.wrap_future(writer.ended))
        writer.join()


_writers = _Writers()
os.register_at_fork(after_in_child=_writers.forget)
