"""One connection on which many commands are under way at a time, answered in order.

redis-py's clients take a connection for each command. Here a command is written as soon as it is asked for, together
with what was asked for meanwhile, and a reader hands out the answers: one socket, few system calls, and the end of the
connection is known at once, because somebody always reads.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from celeriac.errors import ConnectionLost, Unsupported
from celeriac_redis.errors import redis_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

    from celeriac.errors import TransportError
    from celeriac_redis.clients import Server
    from celeriac_redis.scripts import Argument, Script

SILENCE = 1.0  # seconds
SLOWEST = 256 * 1024  # bytes a second: what is large may take its time
BROKEN = (RedisError, OSError, asyncio.IncompleteReadError)


class Pipe:
    """A connection of its own, and what waits for an answer on it.

    Attributes:
        error: why it is dead; ``None`` while it lives.
    """

    def __init__(self, client: Redis, server: Server, patience: float, lost: Callable[[TransportError], None]) -> None:
        """Open nothing yet.

        Args:
            client: patient; its pool makes the connection.
            server: for people to read.
            patience: seconds that an answer may take.
            lost: called once with the reason, should the connection be lost.
        """
        self._connection: Any = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._server = server
        self._patience = patience
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._outgoing: list[bytes] = []
        self._wanted = asyncio.Event()
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._heard_at = self._loop.time()
        self.error: TransportError | None = None

    async def open(self) -> None:
        """Connect, and log in; redis-py has a limit for the former alone where answers may take their time.

        Raises:
            ConnectionLost: nobody answers within ``connect_timeout``.
            AccessRefused: somebody does, and refuses us.
        """
        seconds = self._server.address.options.connect_timeout
        try:
            async with asyncio.timeout(seconds):
                await self._connection.connect()
        except TimeoutError as error:
            raise ConnectionLost(f"{self._server}: no answer within {seconds:g} s") from error
        except BROKEN as error:
            raise redis_error(error, self._server) from error
        self._heard_at = self._loop.time()
        self._tasks = [self._loop.create_task(self._write()), self._loop.create_task(self._read())]

    def send(self, *command: Argument, blocking: float = 0.0) -> asyncio.Future[Any]:
        """Ask for ``command``; return its answer to come. Cancelling that changes nothing for the others.

        Args:
            command: its name and arguments.
            blocking: seconds that the server may take to answer because it was asked to wait.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.error is not None:
            future.set_exception(self.error)
            return future
        try:
            packed = self._connection.pack_command(*command)
        except UnicodeEncodeError as error:
            future.set_exception(Unsupported(f"a name or a header is no text that can be encoded: {error}"))
            return future
        self._outgoing += packed
        on_its_way = sum(map(len, packed)) / SLOWEST
        self._waiting.append((future, self._loop.time() + self._patience + blocking + on_its_way))
        self._wanted.set()
        return future

    def tell(self, *command: Argument) -> None:
        """Ask for ``command``; nobody wants to know what becomes of it."""
        self.send(*command).add_done_callback(_seen)

    async def run(self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Any:
        """Run ``script`` in one step.

        Raises:
            TransportError: it was not run, or what became of it is unknown.
        """
        said = (len(keys), *keys, *arguments)
        try:
            return await self.send("EVALSHA", script.hash, *said)
        except TransportErrorOfScript:  # a new server, or one whose scripts were forgotten: nothing was run
            return await self.send("EVAL", script.text, *said)

    def tend(self, interval: float) -> None:
        """Give up a server that is silent for too long, and ask one that had nothing to say whether it lives.

        Args:
            interval: seconds; nothing heard for so long is worth a question.
        """
        now = self._loop.time()
        if not self._tasks:
            return
        if self._waiting:
            if self._waiting[0][1] < now:
                self.fail(ConnectionLost(f"{self._server} has not answered for {self._patience:g} s"))
        elif now - self._heard_at > interval:
            self.tell("PING")

    def fail(self, error: TransportError) -> None:
        """Be dead: nobody waits any longer."""
        if self.error is not None:
            return
        self.error = error
        self._outgoing.clear()
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if not future.done():
                future.set_exception(error)
                _seen(future)
        for task in self._tasks:
            task.cancel()
        _reset(self._connection)
        self._lost(error)

    def give_up(self, error: TransportError, since: float) -> None:
        """Be dead if nothing was heard for a second: what somebody gives up then is not to be done later.

        Args:
            error: why.
            since: the loop's time when it was asked for.
        """
        if self._loop.time() - max(since, self._heard_at) > SILENCE:
            self.fail(error)

    async def close(self) -> None:
        """Hang up."""
        self.error = self.error or ConnectionLost(f"the connection to {self._server} was closed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for future, _ in self._waiting:
            if not future.done():
                future.set_exception(self.error)
                _seen(future)
        self._waiting.clear()
        with suppress(*BROKEN):
            await self._connection.disconnect(nowait=True)

    async def _write(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            outgoing, self._outgoing = self._outgoing, []
            try:
                await self._connection.send_packed_command(outgoing, check_health=False)
            except BROKEN as error:
                self._broken(error)
                return

    async def _read(self) -> None:
        while True:
            answer: Any
            try:
                answer = await self._connection.read_response(disable_decoding=True)
            except NoScriptError as error:
                answer = TransportErrorOfScript(str(error))
            except ResponseError as error:
                answer = redis_error(error, self._server)
                answer.__cause__ = error
                if isinstance(error, ReadOnlyError) or isinstance(answer, ConnectionLost):
                    self.fail(answer)
                    return
            except BROKEN as error:
                self._broken(error)
                return
            self._heard_at = self._loop.time()
            self.answered(answer)

    def answered(self, answer: Any) -> None:
        """Take what the server said: the answer to what was asked first."""
        future, _ = self._waiting.popleft()
        if future.done():  # given up
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
            _seen(future)
        else:
            future.set_result(answer)

    def _broken(self, error: Exception) -> None:
        lost = redis_error(error, self._server)
        lost.__cause__ = error
        self.fail(lost)


class TransportErrorOfScript(Exception):  # noqa: N818 - never leaves this module
    """The server does not know a script."""


def _reset(connection: Any) -> None:
    """Close a connection so that what is not sent yet is not sent later, as closing it politely would."""
    writer = getattr(connection, "_writer", None)
    if writer is None:
        return
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _seen(future: asyncio.Future[Any]) -> None:
    """Let nobody complain that an error was not looked at."""
    if not future.cancelled() and future.done():
        future.exception()
