"""The broker and the result store of a sandbox: those that live inside a process, with faults between."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol, cast

from celeriac.hookspecs import hookimpl
from celeriac.results import ResultStore
from celeriac.testing.sandbox.faults import WorkerCrash, is_result, sever
from celeriac.transport import Consumer, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import datetime

    from celeriac.clock import Clock
    from celeriac.message import Delivery, Message, Settlement, SettleReceipt
    from celeriac.plugins import Plugins
    from celeriac.results import ResultRecord
    from celeriac.testing.sandbox.faults import Faults

SCHEME = "sandbox"
IN_PROCESS = "memory://"


class Stored(Protocol):
    """A message that is in the broker, and where: ``ready``, ``paused``, ``delayed`` until ``due``, or ``running``."""

    @property
    def queue(self) -> str:
        """The queue it is in."""
        ...

    @property
    def message(self) -> Message:
        """What was published."""
        ...

    @property
    def state(self) -> str:
        """Where it is."""
        ...

    @property
    def due(self) -> datetime | None:
        """When it becomes ready, if it is delayed."""
        ...


class Transparent(Protocol):
    """What a sandbox needs of a transport besides the port: a look inside, faults, and an end without a trace."""

    def contents(self) -> Sequence[Stored]:
        """Return all that is in any queue."""
        ...

    def forget(self) -> None:
        """Drop the broker and the results of this name."""
        ...


class SandboxBroker:
    """Plugs the scheme ``sandbox://`` into an App."""

    def __init__(self, plugins: Plugins, faults: Faults) -> None:
        """Find the broker and the store that live inside a process.

        Args:
            plugins: of the App.
            faults: what is to go wrong.
        """
        members = {"faults": faults}
        bases: tuple[type, ...] = (_CrashingTransport, plugins.transport(IN_PROCESS))
        self._transport: type[Transport] = type("SandboxTransport", bases, members)
        bases = (_CrashingStore, plugins.result_store(IN_PROCESS))
        self._store: type[ResultStore] = type("SandboxStore", bases, members)

    async def look_into(self, url: str, clock: Clock) -> Transparent:
        """Return a look into the broker of that URL, which no fault reaches."""
        transport = self._transport([url], clock=clock, on_lost=lambda _: None)
        await transport.open()
        return cast("Transparent", transport)

    @hookimpl
    def celeriac_transports(self) -> Mapping[str, Callable[[], type[Transport]]]:
        """Offer the broker."""
        return {SCHEME: lambda: self._transport}

    @hookimpl
    def celeriac_result_stores(self) -> Mapping[str, Callable[[], type[ResultStore]]]:
        """Offer the store."""
        return {SCHEME: lambda: self._store}


class _CrashingTransport(Transport):
    """Before a transport that can be severed: its consumers crash when told to."""

    faults: Faults

    @asynccontextmanager
    async def consume(self, queues: Sequence[str], *, prefetch: int) -> AsyncIterator[Consumer]:
        """Consume through a `_CrashingConsumer`."""
        async with super().consume(queues, prefetch=prefetch) as consumer:  # type: ignore[safe-super] # of the class it stands before
            yield _CrashingConsumer(consumer, self)

    def crash(self) -> WorkerCrash:
        """Lose the connection as a process that is killed does, and return what to raise."""
        sever(self)
        return WorkerCrash("a fault that the test has injected")


class _CrashingConsumer(Consumer):
    """A consumer that crashes when it settles what was run."""

    def __init__(self, inner: Consumer, transport: _CrashingTransport) -> None:
        self._inner = inner
        self._transport = transport

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettleReceipt]:
        """Settle, or crash before."""
        faults = self._transport.faults
        if settlements and (faults.is_time("result") or faults.is_time("run")):  # one without a result was run, too
            raise self._transport.crash()
        return await self._inner.settle(settlements)

    async def receive(self, limit: int, wait: float) -> Sequence[Delivery]:
        """Receive."""
        return await self._inner.receive(limit, wait)

    async def extend(self, deliveries: Sequence[Delivery]) -> Sequence[bool]:
        """Renew."""
        return await self._inner.extend(deliveries)

    async def set_prefetch(self, prefetch: int) -> None:
        """Hold more, or less."""
        await self._inner.set_prefetch(prefetch)

    async def check(self) -> bool:
        """Ask the broker."""
        return await self._inner.check()

    async def stop(self) -> None:
        """Take nothing more."""
        await self._inner.stop()


class _CrashingStore(ResultStore):
    """Before a store: it crashes when a task has ended and its result is to be written."""

    faults: Faults

    async def put(self, records: Sequence[ResultRecord]) -> Sequence[bool]:
        """Store, or crash before."""
        if is_result(records) and self.faults.is_time("run"):
            raise cast("_CrashingTransport", self.transport).crash()
        return await super().put(records)  # type: ignore[safe-super] # of the class it stands before
