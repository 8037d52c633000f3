"""A TCP proxy that misbehaves as told, to be put between a client and its broker.

What each fault looks like to the two sides, for links that exist and for connections that are made meanwhile:

=============  ========================================  ==========================================
fault          existing links                            new connections
=============  ========================================  ==========================================
`heal`         pass; what was withheld arrives           pass
`latency`      every byte arrives that much later        the same
`drip`         so many bytes a second, each way          the same
`reset`        RST to both sides                         RST, or pass with ``new=False``
`refuse`       RST to both sides                         refused, as where nobody listens
`blackhole`    stay open; nothing arrives, no close      the same, or pass with ``new=False``
`silent`       pass                                      accepted, read, never answered
=============  ========================================  ==========================================

A black-holed link behaves as a cable that was pulled out: neither side learns that the other one closes. Should it be
healed while both are still there, what was sent meanwhile arrives, as TCP would send it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit, urlunsplit

from celeriac.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from celeriac.clock import Clock

READ_BYTES = 64 * 1024
READ_AHEAD = 64  # pieces that one direction of a link keeps; then its sender has to wait
DRIPS = 10  # a second
HERE = "127.0.0.1"
_RESET = struct.pack("ii", 1, 0)  # linger, for no time at all: closing sends RST


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is done to bytes, and to new connections.

    Attributes:
        latency: seconds that every byte is late.
        rate: bytes a second, each way; ``None`` is as fast as they come.
        new: what becomes of a new connection: ``pass``, ``reset``, ``freeze``, ``silence`` or ``refuse``.
    """

    latency: float = 0.0
    rate: int | None = None
    new: str = "pass"


class FaultProxy:
    """Passes TCP connections on to one address, until told otherwise.

    ``with FaultProxy(broker) as proxy: app = App(broker=proxy.url(broker)); ...; proxy.blackhole(); ...; proxy.heal()``

    It lives in a thread of its own; its methods may be called from any. Each fault replaces the one before, and is in
    force when its method returns.
    """

    def __init__(self, target: str, *, clock: Clock | None = None) -> None:
        """Listen nowhere yet.

        Args:
            target: any URL with a host and a port; what else it says is ignored.
            clock: by which latency and rate are measured.

        Raises:
            ValueError: ``target`` names no host and port.
        """
        parts = urlsplit(target)
        if not parts.hostname or not parts.port:
            raise ValueError("a proxy's target is a URL with a host and a port: scheme://host:1234")
        self._target = (parts.hostname, parts.port)
        self._clock: Clock = clock or SystemClock()
        self._fault = _Fault()
        self._links: set[_Link] = set()
        self._strangers: set[asyncio.StreamWriter] = set()  # accepted, and passed on to nobody
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket  # from __enter__ on
        self._accepting: asyncio.Task[None] | None = None
        self._ready = threading.Event()

    # -- life

    def __enter__(self) -> Self:
        """Listen on a free port of this machine."""
        self._listener = _bound(0)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="celeriac-faults", daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Reset what is open, and listen no more."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def url(self, url: str) -> str:
        """Return ``url`` with the proxy's address in the place of its host and port."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}{HERE}:{self.port}"))

    @property
    def links(self) -> int:
        """How many connections the proxy has open to its target."""
        return len(self._links)

    # -- faults

    def heal(self) -> None:
        """Pass everything on."""
        self._become(_Fault())

    def latency(self, seconds: float) -> None:
        """Let every byte, each way, arrive ``seconds`` late."""
        self._become(_Fault(latency=seconds))

    def drip(self, bytes_per_second: int) -> None:
        """Pass on so many bytes a second on each link, each way."""
        self._become(_Fault(rate=max(1, bytes_per_second)))

    def reset(self, *, new: bool = True) -> None:
        """End every link with RST; with ``new``, every new connection too."""
        self._become(_Fault(new="reset" if new else "pass"), _Link.reset)

    def refuse(self) -> None:
        """End every link with RST, and refuse new connections."""
        self._become(_Fault(new="refuse"), _Link.reset)

    def blackhole(self, *, new: bool = True) -> None:
        """Let nothing through on existing links, nor word of their end; with ``new``, on new ones neither."""
        self._become(_Fault(new="freeze" if new else "pass"), _Link.freeze)

    def silent(self) -> None:
        """Accept new connections, read them, and never answer."""
        self._become(_Fault(new="silence"))

    def _become(self, fault: _Fault, to_links: Callable[[_Link], None] | None = None) -> None:
        asyncio.run_coroutine_threadsafe(self._change(fault, to_links), self._loop).result()

    # -- on the proxy's loop

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        await self._listen()
        self._ready.set()
        await self._ended.wait()
        await self._change(_Fault(new="refuse"), _Link.reset)
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _change(self, fault: _Fault, to_links: Callable[[_Link], None] | None) -> None:
        before, self._fault = self._fault, fault
        for stranger in list(self._strangers):
            _abort(stranger)
        for link in list(self._links):
            if to_links is not None:
                to_links(link)
            else:
                link.thaw()
        if fault.new == "refuse" and before.new != "refuse":
            await self._listen_no_more()
        elif fault.new != "refuse" and before.new == "refuse":
            await self._listen()

    async def _listen(self) -> None:
        self._listener.listen()
        self._accepting = self._loop.create_task(self._accept())

    async def _listen_no_more(self) -> None:
        """Keep the port, bound and not listening: whoever connects is refused."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        self._listener.close()
        self._listener = _bound(self.port)

    async def _accept(self) -> None:
        while True:
            accepted, _ = await self._loop.sock_accept(self._listener)
            task = self._loop.create_task(self._welcome(accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _welcome(self, accepted: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=accepted)
        if self._fault.new != "pass":
            await self._estrange(reader, writer, self._fault.new)
            return
        try:
            there = await asyncio.open_connection(*self._target)
        except OSError:
            _abort(writer)
            return
        if self._fault.new != "pass":  # by now
            _abort(writer)
            _abort(there[1])
            return
        link = _Link((reader, writer), there, self)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    async def _estrange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, how: str) -> None:
        """Hold a connection that is passed on to nobody: reset it, read it for ever, or leave it alone."""
        self._strangers.add(writer)
        try:
            if how == "silence":
                while await reader.read(READ_BYTES):
                    pass
            elif how == "freeze":
                await self._ended.wait()
        except OSError:
            pass  # they have gone, or we have reset them
        finally:
            self._strangers.discard(writer)
            _abort(writer)

    async def late(self, arrived: float) -> None:
        """Return when bytes that arrived then are to be passed on."""
        await self._clock.sleep(max(0.0, arrived + self._fault.latency - self._clock.monotonic()))

    async def drop(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what of ``data`` is to be written now, and the rest; it takes the time that the rest has to wait."""
        rate = self._fault.rate
        if rate is None:
            return data, b""
        size = max(1, rate // DRIPS)
        await self._clock.sleep(size / rate)
        return data[:size], data[size:]

    @property
    def now(self) -> float:
        """The clock's seconds."""
        return self._clock.monotonic()


_End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """Two connections, and what goes each way between them."""

    def __init__(self, here: _End, there: _End, proxy: FaultProxy) -> None:
        self._writers = (here[1], there[1])
        self._ways = (_Way(here, there, proxy, self), _Way(there, here, proxy, self))
        self.thawed = asyncio.Event()
        self.thawed.set()

    async def run(self) -> None:
        """Pass bytes on until both sides have ended."""
        try:
            async with asyncio.TaskGroup() as group:
                for way in self._ways:
                    group.create_task(way.read())
                    group.create_task(way.write())
            for writer in self._writers:
                writer.close()
                await writer.wait_closed()
        except* OSError:
            pass  # one side was reset; so is the other
        finally:
            self.reset()

    def freeze(self) -> None:
        """Let nothing through."""
        self.thawed.clear()

    def thaw(self) -> None:
        """Let through what was withheld, and what comes."""
        for way in self._ways:
            way.look()
        self.thawed.set()

    def reset(self) -> None:
        """End both sides with RST, unless they are closed."""
        for writer in self._writers:
            _abort(writer)
        self.thawed.set()


class _Way:
    """One direction of a link: what was read and not yet written."""

    def __init__(self, source: _End, target: _End, proxy: FaultProxy, link: _Link) -> None:
        self._reader, self._source = source
        self._writer = target[1]
        self._proxy, self._link = proxy, link
        self._pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(READ_AHEAD)
        self._reset: OSError | None = None

    async def read(self) -> None:
        """Read until the sender has ended, or was reset: then what is on its way dies with it, as in a network."""
        data = b"-"
        while data:
            try:
                data = await self._reader.read(READ_BYTES)
            except OSError as error:
                self._reset = error
                if not self._pieces.empty():
                    return  # the writer is not waiting for more, and will see it
                data = b""
            await self._pieces.put((self._proxy.now, data))

    async def write(self) -> None:
        """Write what is read, as the proxy lets it, and the end too."""
        data = b"-"
        while data:
            arrived, data = await self._pieces.get()
            await self._proxy.late(arrived)
            await self._link.thawed.wait()
            rest = data
            while rest:
                piece, rest = await self._proxy.drop(rest)
                self._raise_reset()
                self._writer.write(piece)
                await self._writer.drain()
            self._raise_reset()
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    def look(self) -> None:
        """See whether the sender was reset, even if that was not read yet."""
        poll = select.poll()
        if not self._source.transport.is_closing():
            poll.register(self._source.transport.get_extra_info("socket").fileno(), 0)
        if self._source.transport.is_closing() or any(event & select.POLLERR for _, event in poll.poll(0)):
            self._reset = self._reset or ConnectionResetError()

    def _raise_reset(self) -> None:
        if self._reset is not None:
            raise self._reset


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    listener.bind((HERE, port))
    return listener


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with RST, now, unless it is closed."""
    transport = writer.transport
    if transport.is_closing() and not transport.get_write_buffer_size():
        return
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
