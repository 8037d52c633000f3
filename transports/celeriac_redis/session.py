"""One transport's connections to its server, from `Session.open` until they are closed or one of them is lost.

Three at most, and some more in a fleet: one for commands; one for publishing, opened by the first publish, which can
be reset alone; one that hears what is said by pub/sub, opened with the first channel; and one for each list on which
Celery's clients may put messages without telling anyone (see `Watch`).
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.errors import ConnectionLost
from celeriac_redis import clients
from celeriac_redis.ear import Ear, Inbox
from celeriac_redis.errors import KeyOfAnotherType
from celeriac_redis.layout import Layout
from celeriac_redis.pipe import Pipe
from celeriac_redis.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from celeriac.errors import TransportError
    from celeriac_redis.address import Address
    from celeriac_redis.clients import Server
    from celeriac_redis.scripts import Argument, Script

T = TypeVar("T")
P = TypeVar("P", bound=Pipe)
MOST_WATCHED = 32  # lists, a connection each; beyond them a look every `consumer.LOOK_AGAIN` seconds must do
TICKS = 4  # in a heartbeat


class Session:
    """Open connections, and who wants to know when they are lost.

    Attributes:
        layout: the names of the keys.
        pipe: where commands go.
        fleet: Celery may put messages here too.
    """

    def __init__(self, server: Server, on_lost: Callable[[TransportError], None]) -> None:
        """Open nothing yet."""
        options = server.address.options
        self.layout = Layout(options.prefix, server.address.database)
        self.fleet = options.fleet is not None
        self._server = server
        self._heartbeat = options.heartbeat
        self._on_lost = on_lost
        self._client = clients.client(server, connections=1, patient=True)
        self.pipe = self._pipe()
        self._out: Pipe | None = None
        self._ear: Ear | None = None
        self._opening, self._opening_out = asyncio.Lock(), asyncio.Lock()
        self._given_up = False
        self._loop = asyncio.get_running_loop()
        self._watches: dict[str, Watch] = {}
        self._events: set[asyncio.Event] = set()
        self._inboxes: set[Inbox[Any]] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._error: TransportError | None = None

    @classmethod
    async def open(cls, addresses: Sequence[Address], on_lost: Callable[[TransportError], None]) -> Session:
        """Connect to the first server that is fit.

        Raises:
            ConnectionLost: nobody answers.
            AccessRefused: somebody does, and refuses us.
        """
        session = cls(await clients.find(addresses), on_lost)
        try:
            await session.pipe.open()
        except BaseException:
            await session.close()
            raise
        session._ticking = asyncio.get_running_loop().create_task(session._tick())
        return session

    @property
    def is_open(self) -> bool:
        """The connections live."""
        return self._error is None

    def refuse_closed(self) -> None:
        """Raise `ConnectionLost` once it is closed or lost."""
        if self._error is not None:
            raise ConnectionLost(str(self._error)) from (self._error.__cause__ or self._error)

    async def run(self, script: Script, *arguments: Argument) -> Any:
        """Run a script that begins with ``common.lua``.

        Raises:
            TransportError: it was not run, or what became of it is unknown.
        """
        self.refuse_closed()
        layout = self.layout
        return await self.pipe.run(script, layout.keys, (layout.prefix, layout.bell, *arguments))

    async def run_out(self, script: Script, *arguments: Argument) -> Any:
        """As `run`, on the connection for publishing. Cancelled while the server is silent, it resets that connection.

        Raises:
            TransportError: as `run`.
        """
        out = await self.ready_out()
        layout, began = self.layout, self._loop.time()
        try:
            return await out.run(script, layout.keys, (layout.prefix, layout.bell, *arguments))
        except asyncio.CancelledError:
            self._given_up = True
            out.give_up(ConnectionLost(f"a publish to {self._server} was given up"), began)
            self._given_up = False
            raise

    async def ready_out(self) -> Pipe:
        """Return the connection for publishing, open.

        Raises:
            TransportError: it cannot be opened.
        """
        self.refuse_closed()
        async with self._opening_out:
            if self._out is None or self._out.error is not None:
                if self._out is not None:
                    await self._out.close()
                    self._out = None
                self._out = await self._opened(Pipe(self._client, self._server, self._heartbeat, self._lose_out))
            return self._out

    def _lose_out(self, error: TransportError) -> None:
        if not self._given_up:
            self.lose(error)

    async def ask(self, *command: Argument) -> Any:
        """Return the answer to one command.

        Raises:
            TransportError: as `run`.
        """
        self.refuse_closed()
        try:
            return await self.pipe.send(*command)
        except KeyOfAnotherType as error:
            raise KeyOfAnotherType(f"{error} ({command[1]!s})") from error

    @asynccontextmanager
    async def hearing(self, channel: str, listener: Callable[[bytes], None]) -> AsyncIterator[None]:
        """Call ``listener`` with what is said on ``channel`` within the block."""
        self.refuse_closed()
        async with self._opening:
            if self._ear is None:
                self._ear = await self._opened(Ear(self._client, self._server, self._heartbeat, self.lose))
        async with self._ear.hearing(channel, listener):
            yield

    @contextmanager
    def following(self, inbox: Inbox[T]) -> Iterator[None]:
        """Tell ``inbox`` should the session be lost within the block."""
        self.refuse_closed()
        self._inboxes.add(inbox)
        try:
            yield
        finally:
            self._inboxes.discard(inbox)

    @contextmanager
    def waking(self, event: asyncio.Event) -> Iterator[None]:
        """Set ``event`` should the session be lost within the block."""
        self._events.add(event)
        try:
            yield
        finally:
            self._events.discard(event)

    def watch(self, queues: Sequence[str], event: asyncio.Event) -> None:
        """In a fleet, set ``event`` once there is something in a list of ``queues``; once is enough."""
        if not self.fleet:
            return
        for name in (name for queue in queues for name in self.layout.lists(queue)):
            watch = self._watches.get(name)
            if watch is None:
                if len(self._watches) >= MOST_WATCHED:
                    return
                watch = self._watches[name] = Watch(name, self._pipe())
            watch.wake(event)

    def lose(self, error: TransportError) -> None:
        """Tell everybody, once, that a connection is lost."""
        if self._error is not None:
            return
        self._end(error)
        self._on_lost(error)

    async def close(self) -> None:
        """Hang up."""
        self._end(ConnectionLost(f"the connection to {self._server} was closed"))
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        for watch in self._watches.values():
            await watch.close()
        for pipe in (self._out, self._ear, self.pipe):
            if pipe is not None:
                await pipe.close()
        await self._client.aclose()

    def _end(self, error: TransportError) -> None:
        if self._error is not None:
            return
        self._error = error
        for event in self._events:
            event.set()
        for inbox in self._inboxes:
            inbox.fail(error)
        for pipe in self._pipes():
            pipe.fail(error)

    async def _opened(self, pipe: P) -> P:
        """Open ``pipe``; close it again if that fails, or the session is lost meanwhile: nobody would tend it."""
        try:
            await pipe.open()
            self.refuse_closed()
        except BaseException:
            await pipe.close()
            raise
        return pipe

    def _pipe(self) -> Pipe:
        return Pipe(self._client, self._server, self._heartbeat, self.lose)

    def _pipes(self) -> list[Pipe]:
        pipes = (self.pipe, self._out, self._ear, *(watch.pipe for watch in self._watches.values()))
        return [pipe for pipe in pipes if pipe is not None]

    async def _tick(self) -> None:
        while self._error is None:
            await asyncio.sleep(self._heartbeat / TICKS)
            for pipe in self._pipes():
                pipe.tend(self._heartbeat)
