"""The supervisor of an App's broker and result store, on one loop: opens, declares, opens again after a loss."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.errors import AccessRefused, ConfigurationError, ConnectionLost, TransportError
from celeriac.plugins import is_bare
from celeriac.topology import Queue, Topology
from celeriac.transport_helpers import masked_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from random import Random

    from celeriac.clock import Clock
    from celeriac.plugins import Plugins
    from celeriac.results import ResultStore
    from celeriac.settings import Settings
    from celeriac.transport import Capabilities, Transport

logger = logging.getLogger("celeriac.connection")

IN_PROCESS = "memory://"
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
STEADY = 5.0  # seconds; what was open for less is not opened again at once: a disk that is full, say, opens and fails


class Connection:
    """One App's broker and result store, as one loop of one process sees them.

    Attributes:
        settings: of the App.
        transport: the broker.
        store: the result store.
        address: the broker's, for people to read.
        store_address: the store's, for people to read.
        clock: where the time comes from.
        last_error: why it is not open; ``None`` while it is.
        on_lost: each is called, on the loop, when the connection is lost.
    """

    def __init__(
        self, *, settings: Settings, plugins: Plugins, clock: Clock, random: Random, topology: Topology, scope: str
    ) -> None:
        """Choose the plugins by URL and construct them; nothing is opened.

        Args:
            settings: names the broker and the backend.
            plugins: where their schemes are looked up.
            clock: given to both.
            random: spreads the pauses between attempts to reopen.
            topology: what to declare; queues named later are added as the default kind.
            scope: names what belongs to this App alone, for brokers inside the process.

        Raises:
            ConfigurationError: a URL cannot work, or no plugin has its scheme.
        """
        cls = plugins.transport(settings.broker[0])
        urls = scoped(settings.broker, scope) if cls.scoped else settings.broker
        backend = scoped(settings.backend, scope) if settings.backend else urls
        self.settings = settings
        self.transport: Transport = cls(urls, clock=clock, on_lost=self._lost)
        self.store: ResultStore = plugins.result_store(backend[0])(backend, clock=clock, transport=self.transport)
        self.address = masked_all(urls)
        self.store_address = masked_all(backend)
        self.clock = clock
        self._random = random
        self._topology = topology
        self._declared: set[str] = set()
        self._opened = False
        self._lock = asyncio.Lock()
        self._reopening: asyncio.Task[None] | None = None
        self._up = asyncio.Event()
        self._up_since = float("-inf")
        self._pause = FIRST_PAUSE
        self._loss: TransportError | None = None
        self.last_error: TransportError | None = None
        self.on_lost: list[Callable[[], None]] = []

    @property
    def is_up(self) -> bool:
        """It is open, and not lost."""
        return self._up.is_set()

    async def open(self) -> None:
        """Open broker and store, and declare the App's topology. Idempotent; raises at the first failure."""
        async with self._lock:
            if self._opened:
                return
            await self._open()
            self._opened = True

    async def ready(self) -> None:
        """Return once the connection is up: at once as a rule, after a loss when it is open again.

        Bounded by its caller.
        """
        if not self._opened:
            await self._open_patiently()
        await self._up.wait()

    async def declare(self, names: Iterable[str]) -> None:
        """Declare, once a connection, the queues that are not in the App's topology, as the default kind."""
        missing = [Queue(name) for name in names if name not in self._declared]
        if missing:
            await self.transport.declare(Topology.of(missing, mode=self._topology.mode))
            self._declared.update(queue.name for queue in missing)

    async def declare_again(self) -> None:
        """Declare everything anew: someone has deleted a queue or an exchange of ours."""
        known, self._declared = self._declared, set()
        await self._declare_topology()
        await self.declare(known)

    def capabilities(self, name: str) -> Capabilities:
        """Return what holds for the queue called ``name``."""
        queues = {queue.name: queue for queue in self._topology.queues}
        return self.transport.capabilities(queues.get(name) or Queue(name))

    async def close(self) -> None:
        """Stop reopening; close store and broker. Idempotent."""
        self._up.clear()
        self._opened = False  # from now on a loss begins no reopening
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
            self._reopening = None
        async with self._lock:
            self._opened = False
            self._declared.clear()
            await self.store.close()
            await self.transport.close()

    async def _open(self) -> None:
        self._loss = None
        try:
            await self.transport.open()
            await self._declare_topology()
            await self.store.open()
            if self._loss is not None:
                raise self._loss
        except TransportError as error:
            self.last_error = error
            raise
        self.last_error = None
        self._up_since = self.clock.monotonic()
        self._up.set()

    async def _declare_topology(self) -> None:
        await self.transport.declare(self._topology)
        self._declared.update(queue.name for queue in self._topology.queues)

    async def _open_patiently(self) -> None:
        """Open, trying again while nobody answers; any other error is the caller's to see."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self.open()
            except ConnectionLost:
                await self.clock.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                return

    def _lost(self, error: TransportError) -> None:
        """Hear of a loss, on the loop: tell who wants to know, and begin to reopen."""
        self._loss = error
        if not self._opened or (self._reopening is not None and not self._reopening.done()):
            return
        logger.warning("lost the broker %s: %s", self.address, error)
        self.last_error = error
        self._up.clear()
        self._declared.clear()
        for told in self.on_lost:
            told()
        self._reopening = asyncio.get_running_loop().create_task(self._reopen())

    async def _reopen(self) -> None:
        if self.clock.monotonic() - self._up_since < STEADY:
            await self._rest()
        else:
            self._pause = FIRST_PAUSE
        while True:
            try:
                await self._open()
            except (TransportError, ConfigurationError) as error:
                level = logging.ERROR if isinstance(error, AccessRefused) else logging.WARNING
                logger.log(level, "cannot reopen the broker %s: %s; again in %.1f s", self.address, error, self._pause)
            except Exception:
                logger.exception("cannot reopen the broker %s; again in %.1f s", self.address, self._pause)
            else:
                logger.info("the broker %s is back", self.address)
                return
            await self._rest()

    async def _rest(self) -> None:
        """Pause, each time for longer; spread, so that those who lost one broker do not come back in step."""
        pause, self._pause = self._pause, min(LONGEST_PAUSE, self._pause * 2)
        await self.clock.sleep(pause * self._random.uniform(0.5, 1.0))


def in_process(settings: Settings, plugins: Plugins) -> Settings | None:
    """Return settings with a broker inside the process, where tasks run as they are sent and theirs is outside."""
    if not settings.task_always_eager or (settings.broker and plugins.transport(settings.broker[0]).scoped):
        return None
    return replace(settings, broker=(IN_PROCESS,), backend=(), declare="active")


def scoped(urls: Iterable[str], scope: str) -> tuple[str, ...]:
    """Give each bare URL a name that belongs to its user alone."""
    return tuple(_with_host(url, scope) if is_bare(url) else url for url in urls)


def _with_host(url: str, host: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{host}{rest.lstrip('/')}"
