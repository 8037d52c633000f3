"""An App in a sandbox: its own tasks, routes and rooms, on a broker and a clock that belong to the test."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary

from celeriac.deferred import Deferred
from celeriac.errors import ConfigurationError
from celeriac.portal import portal
from celeriac.registry import preferred
from celeriac.settings import Settings
from celeriac.testing.sandbox.broker import SCHEME, SandboxBroker
from celeriac.testing.sandbox.clock import ShiftedClock
from celeriac.testing.sandbox.crew import Crew, Patience
from celeriac.testing.sandbox.faults import FailingPublisher, Faults, sever
from celeriac.testing.sandbox.stuck import NotDrained
from celeriac.testing.sandbox.waiting import Waiting
from celeriac.testing.sandbox.worker import has_failed

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextlib import AbstractContextManager
    from types import TracebackType

    from celeriac.app import App
    from celeriac.client import Client
    from celeriac.clock import Clock
    from celeriac.events import Finished
    from celeriac.testing.sandbox.worker import SandboxWorker

T = TypeVar("T")

PATIENCE_SECONDS = 10.0


class Sandbox(Waiting):
    """``with Sandbox(app) as box:`` - what ``app`` sends in the block stays in the process, and time is the test's.

    Nothing runs until `drain` is called, or for as long as a `worker` works. Callable from any thread; inside a running
    loop await `adrain` and `aadvance`.

    Attributes:
        app: the App.
        clock: its clock, as long as the block lasts; `advance` puts it forward.
        faults: what can go wrong.
    """

    def __init__(self, app: App, *, pool: str = "thread", **settings: Any) -> None:
        """Describe the sandbox; entering the block changes the App, leaving it changes it back.

        Args:
            app: any App, say the one of your program.
            pool: where `drain` and `worker` run ``def`` tasks: ``thread``, or for `drain` also ``solo``, the thread
                that calls it, whose database connection and transaction they then share.
            **settings: of the App, for the block.

        Raises:
            UnknownOption: a setting of an unknown name.
        """
        self.app = app
        self.clock = ShiftedClock()
        self.faults = Faults(self._lose_connections)
        self._pool = pool
        known = {each.name: getattr(app.conf, each.name) for each in fields(Settings)}
        self._name = f"{SCHEME}://{uuid4().hex}"
        here = {"broker": self._name, "backend": None, "fleet": None, "declare": "active"}
        self._conf = Settings.resolve({**known, **settings, **here}, {})
        self._crew = Crew(app, self.clock, self._contents)

    def __enter__(self) -> Self:
        """Begin: the App closes its connection, and opens one to the sandbox.

        Raises:
            ConfigurationError: the App is in a sandbox already.
        """
        app = self.app
        if app in _sandboxes:
            raise ConfigurationError(f"{app!r} is in a sandbox already; leave that one first")
        app.close()
        broker = SandboxBroker(app.plugins, self.faults)
        self._eye = _on_portal(broker.look_into(self._name, self.clock))
        with ExitStack() as undoing:
            undoing.callback(self._eye.forget)
            undoing.callback(_restore, app, app.conf, app.clock)
            undoing.callback(app.plugins.unregister, broker)
            undoing.callback(app.close)
            undoing.callback(_sandboxes.pop, app)
            undoing.enter_context(preferred(app))
            app.plugins.register(broker)
            app.conf, app.clock, _sandboxes[app] = self._conf, self.clock, self
            _on_portal(app.client.connection.open())
            _let_fail(app.client, self.faults)
            self._undoing = undoing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End: what still waits is gone, and the App is what it was."""
        self._undoing.close()

    # what works

    def worker(self, **options: Any) -> AbstractContextManager[SandboxWorker]:
        """Return a block in which a worker works; options as `App.run_worker`.

        Raises:
            ConfigurationError: ``pool="solo"``, which runs tasks on a thread that waits for them, as only `drain` does.
        """
        if options.get("pool") == "solo":
            raise ConfigurationError("a worker that works beside a test needs threads; leave pool='solo' to drain()")
        return self._crew.hire(**options)

    def drain(self, timeout: float = PATIENCE_SECONDS, *, propagate: bool = True) -> list[Finished]:
        """Run all that is ready, and what follows from it; what is delayed is not waited for.

        Args:
            timeout: seconds after which this gives up. What hangs on your own thread (``pool="solo"``) is not ended.
            propagate: raise what the first task that failed for good has raised.

        Returns:
            Every run that has ended, in order; of a worker that works, since the last `drain`.

        Raises:
            NotDrained: some were not done in time; each is named, with where it is.
        """
        patience = Patience(timeout)
        finished = self._watch(patience) if self._crew.workers else self._work(patience)
        failed = [event for event in finished if has_failed(event)]
        if propagate and failed:
            raise self._crew.error_of(failed)
        return finished

    async def adrain(self, timeout: float = PATIENCE_SECONDS, *, propagate: bool = True) -> list[Finished]:
        """Run all that is ready, from a coroutine; as `drain`."""
        return await asyncio.to_thread(self.drain, timeout, propagate=propagate)

    def advance(self, seconds: float, timeout: float = PATIENCE_SECONDS) -> None:
        """Let ``seconds`` pass. While a `worker` works, what falls due runs, each at its moment; else it becomes ready.

        Args:
            seconds: that are skipped.
            timeout: real seconds after which this gives up on tasks that are not done.

        Raises:
            NotDrained: some were not done in time.
            ValueError: ``seconds`` is negative: time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds} s")
        end = self.clock.monotonic() + seconds
        patience = Patience(timeout)
        while self._crew.workers:
            self._crew.wait(patience)
            if patience.is_over:
                raise NotDrained(self._crew.report(f"still on the way after {timeout:g} s: ever more falls due"))
            now, left = self.clock.now(), end - self.clock.monotonic()
            due = [(each.due - now).total_seconds() for each in self._contents() if each.due is not None]
            if not due or min(due) > left:
                break
            self.clock.skip(max(0.0, min(due)))
        self.clock.skip(max(0.0, end - self.clock.monotonic()))

    async def aadvance(self, seconds: float, timeout: float = PATIENCE_SECONDS) -> None:
        """Let time pass, from a coroutine; as `advance`."""
        await asyncio.to_thread(self.advance, seconds, timeout)

    # within

    def _watch(self, patience: Patience) -> list[Finished]:
        """Wait for the workers that work; return what they have ended since this was last asked."""
        self._crew.wait(patience)
        if self._ready() - self._crew.consumed:
            raise NotDrained(self._crew.report("these tasks are never run"))
        return [event for worker in self._crew.workers for event in worker.news()]

    def _work(self, patience: Patience) -> list[Finished]:
        """Let workers come by until nothing is ready: tasks may have sent others to further queues."""
        finished: list[Finished] = []
        while queues := sorted(self._ready()):
            with self._crew.hire(pool=self._pool, queues=queues) as worker:
                if self._pool == "solo":
                    self._lend_thread(worker, patience)
                else:
                    self._crew.wait(patience)
            finished += worker.finished
        return finished

    def _lend_thread(self, worker: SandboxWorker, patience: Patience) -> None:
        """Run ``def`` tasks on this thread, until another has seen that nothing is to be done."""
        with ThreadPoolExecutor(1) as other:
            waiting = other.submit(self._crew.wait, patience)
            waiting.add_done_callback(lambda done: worker.stop(at_once=done.exception() is not None))
            while worker.lend():
                pass
            waiting.result()

    def _ready(self) -> set[str]:
        return {each.queue for each in self._contents() if each.state == "ready"}

    def _lose_connections(self) -> None:
        async def lose() -> None:
            sever(self.app.client.connection.transport)

        _on_portal(lose())
        for worker in self._crew.workers:
            worker.sever()


def sandbox_of(app: App) -> Sandbox:
    """Return the sandbox that ``app`` is in now.

    Raises:
        ConfigurationError: it is in none.
    """
    if app not in _sandboxes:
        raise ConfigurationError(f"{app!r} is in no sandbox; enter one: with Sandbox(app) as box")
    return _sandboxes[app]


_sandboxes: WeakKeyDictionary[App, Sandbox] = WeakKeyDictionary()


def _on_portal(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run something short on the portal's loop, also where another loop runs, in an ``async`` test say."""
    return portal().start(coroutine).result()


def _let_fail(client: Client, faults: Faults) -> None:
    client.publisher = FailingPublisher(client.publisher, faults)
    if client.deferred is not None:
        client.deferred = Deferred(client.publisher)  # type: ignore[arg-type] # it publishes as the other


def _restore(app: App, conf: Settings, clock: Clock) -> None:
    app.conf, app.clock = conf, clock
