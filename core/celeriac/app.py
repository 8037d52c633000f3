"""The App: where tasks are declared, and everything of one program that has a configuration."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from inspect import iscoroutinefunction
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload
from urllib.parse import quote
from uuid import uuid4

from celeriac.client import Client
from celeriac.clock import SystemClock
from celeriac.codec import Codecs
from celeriac.connection import Connection
from celeriac.errors import ConfigurationError, UnknownOption
from celeriac.locator import Locator, default_file, is_importing
from celeriac.plugins import Plugins
from celeriac.portal import portal
from celeriac.registry import TaskRegistry
from celeriac.result import AsyncResult
from celeriac.retry import RetryOptions
from celeriac.routing import Route, Router
from celeriac.sender import Batch, Sender
from celeriac.settings import Settings
from celeriac.task import CALL_OPTIONS, NO_OPTIONS, RETRY_OPTIONS, CoroutineTask, FunctionTask, Task
from celeriac.topology import Exchange, Queue, Topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from celeriac.clock import Clock
    from celeriac.publisher import Publishes
    from celeriac.routing import Routes
    from celeriac.topology import Binding
    from celeriac.worker.inprocess import RunningWorker

P = ParamSpec("P")
R = TypeVar("R")
LifespanT = TypeVar("LifespanT", bound="Callable[[], AsyncIterator[Any]]")

logger = logging.getLogger("celeriac")

DEFAULT_QUEUE = "celeriac"
TASK_OPTIONS = ("name", "bind", "acks_late", "ignore_result", "track_started")
ALL_OPTIONS = (*TASK_OPTIONS, *RETRY_OPTIONS, *CALL_OPTIONS)


class App:
    """A program's tasks, queues and settings.

    Constructing one opens nothing: no socket, file or thread. Several live in one process; every public method may be
    called from any thread.

    Attributes:
        main: stands for ``__main__`` in the names of tasks declared in a program.
        conf: the settings.
        tasks: the tasks by name.
        plugins: what is plugged in; ``plugins.register(obj)`` adds to this App alone.
        queues: the declared queues, the default one first.
        router: where tasks go.
        codecs: how arguments and results are encoded.
        clock: where the time comes from.
    """

    def __init__(
        self,
        main: str | None = None,
        *,
        broker: str | Sequence[str] | None = None,
        backend: str | Sequence[str] | None = None,
        queues: Sequence[Queue] = (),
        exchanges: Sequence[Exchange] = (),
        bindings: Sequence[Binding] = (),
        routes: Routes | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        """Configure an App.

        Args:
            main: the main name.
            broker: the broker's URL, or the addresses of one cluster, tried in order; by default a SQLite file
                ``celeriac.db`` near the program.
            backend: where results are kept; by default the broker's own store.
            queues: to be declared, beside the default queue and those that ``routes`` describe.
            exchanges: to be declared, beside those that the queues name.
            bindings: to be declared, beside each queue's own: a queue that takes several keys, say.
            routes: task name, glob or pattern to a queue or `Route`, or a function of the task's name.
            clock: where the time comes from, for tests.
            **settings: any field of `celeriac.settings.Settings`.

        Raises:
            UnknownOption: a setting of an unknown name, with a did-you-mean.
            ConfigurationError: a value that cannot work.
        """
        self.main = main
        self.conf = Settings.resolve({**settings, "broker": broker, "backend": backend})
        self.tasks = TaskRegistry()
        self.plugins = Plugins()
        self.codecs = Codecs()
        self.clock: Clock = clock or SystemClock()
        self.random = Random()  # noqa: S311 - spreads retries and reconnections
        default = self.conf.default_queue or self.conf.fleet or DEFAULT_QUEUE
        named = {queue.name: queue for queue in _queues_of(routes)} | _by_name(queues)
        self.default_queue = named.pop(default) if default in named else Queue(default)
        self.queues = (self.default_queue, *named.values())
        self.router = Router(routes, self.default_queue)
        self._exchanges = (*exchanges, *_exchanges_of(self.router))
        self._bindings = tuple(bindings)
        self.lifespan_function: Callable[[], AbstractAsyncContextManager[Any]] | None = None
        self.sender = Sender(self)
        self._client: Client | None = None
        self._link: Publishes | None = None
        self._lock = threading.RLock()
        self._scope = uuid4().hex
        self._defined = sys._getframe(1).f_globals  # noqa: SLF001 - the module that says App(...) is where workers find it

    def __repr__(self) -> str:
        """Return ``<App main:0x...>``."""
        return f"<App {self.main or '__main__'}:{id(self):#x}>"

    @overload
    def task(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap] # a coroutine function is also a function; the first that fits is meant
    @overload
    def task(self, fn: Callable[P, R], /) -> FunctionTask[P, R]: ...
    @overload
    def task(self, fn: None = None, /, *, bind: Literal[True], **options: Any) -> _BoundTaskMaker: ...
    @overload
    def task(self, fn: None = None, /, *, bind: Literal[False] = False, **options: Any) -> _TaskMaker: ...
    def task(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Declare a task: ``@app.task`` or ``@app.task(queue="mail", acks_late=False)``.

        Args:
            fn: a ``def`` or ``async def`` function; it stays callable.
            **options: ``name`` (default: module and function), ``bind`` (the function's first argument is the task),
                ``acks_late``, ``ignore_result``, ``track_started``, the options about retries (see
                `celeriac.retry.RetryOptions`), and any call option as the task's default (see `CallOptions`).

        Raises:
            UnknownOption: an option of an unknown name, with a did-you-mean.
            ConfigurationError: another function has that name, or an option cannot work.
        """
        for name in options:
            if name not in ALL_OPTIONS:
                raise UnknownOption("task option", name, ALL_OPTIONS)
        return self._declare(fn, options) if fn is not None else lambda fn: self._declare(fn, options)

    def _declare(self, fn: Callable[..., Any], options: Mapping[str, Any]) -> Task[..., Any]:
        own = {name: value for name, value in options.items() if name in TASK_OPTIONS}
        own["name"] = own.get("name") or self._name_of(fn)
        defaults = NO_OPTIONS.with_({name: value for name, value in options.items() if name in CALL_OPTIONS})
        retries = RetryOptions(**{name: value for name, value in options.items() if name in RETRY_OPTIONS})
        cls = CoroutineTask if iscoroutinefunction(fn) else FunctionTask
        task: Task[..., Any] = cls(self, fn, defaults=defaults, retries=retries, **own)
        with self._lock:
            self.tasks.add(task)
        return task

    def _name_of(self, fn: Callable[..., Any]) -> str:
        module = fn.__module__
        if module == "__main__":
            stem = Path(getattr(sys.modules["__main__"], "__file__", None) or "__main__").stem
            module = self.main or "__main__"
            if stem != module:
                self.tasks.alias(stem, module)  # a client that imports the program calls the task by its stem
        return f"{module}.{fn.__name__}"

    def lifespan(self, function: LifespanT) -> LifespanT:
        """Declare what every executor opens before its tasks and closes after them.

        ``function`` is an async generator that yields once; what it yields is ``request.state``. It runs once an
        executor process, on the loop of its coroutines.
        """
        self.lifespan_function = asynccontextmanager(function)
        return function

    def send_task(
        self, name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Send a task by name, whether or not this App knows it; options as `Task.apply_async`."""
        return self.sender.send(name, args, kwargs or {}, NO_OPTIONS.with_(options))

    async def asend_task(
        self, name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Send a task by name from a coroutine; as `send_task`."""
        return await self.sender.asend(name, args, kwargs or {}, NO_OPTIONS.with_(options))

    def batch(self) -> Batch:
        """Return a block (``with`` or ``async with``) whose tasks are published together when it is left."""
        return Batch(self)

    def AsyncResult(self, task_id: str) -> AsyncResult[Any]:  # noqa: N802 - Celery's name for it
        """Return the result of a task by its id."""
        return AsyncResult(task_id, self.client)

    def revoke(self, ids: str | Iterable[str], *, terminate: bool = False, best_effort: bool = False) -> None:
        """See that tasks are not run, and that coroutines which run are cancelled; their state is ``REVOKED``.

        The broker keeps it for ``revoke_expires`` seconds, for workers that start later too. A ``def`` task that has
        begun goes on.

        Args:
            ids: of the tasks.
            terminate: end what runs by force too: a ``def`` task has its process killed, and the others in it are given
                back, uncounted; so has a coroutine that is not gone a second after its cancellation.
            best_effort: where the broker keeps no revocations, tell the workers that run now.

        Raises:
            Unsupported: the broker keeps no revocations, and ``best_effort`` is false.
        """
        self.client.portal.run(self._revoke(ids, terminate=terminate, best_effort=best_effort))

    async def arevoke(self, ids: str | Iterable[str], *, terminate: bool = False, best_effort: bool = False) -> None:
        """Revoke from a coroutine; as `revoke`."""
        revoking = self._revoke(ids, terminate=terminate, best_effort=best_effort)
        await asyncio.wrap_future(self.client.portal.start(revoking))

    def _revoke(self, ids: str | Iterable[str], *, terminate: bool, best_effort: bool) -> Coroutine[Any, Any, None]:
        wanted = [ids] if isinstance(ids, str) else list(ids)
        return self.client.revoke(wanted, terminate=terminate, best_effort=best_effort)

    @property
    def client(self) -> Client:
        """This process's client; made at the first use, and anew after a fork."""
        client = self._client
        if client is None or client.pid != os.getpid():
            with self._lock:
                if self._client is None or self._client.pid != os.getpid():
                    self._client = self._new_client()
                client = self._client
        return client

    def _new_client(self) -> Client:
        return Client(
            self.connect(),
            portal(),
            self.codecs,
            publish_timeout=self.conf.publish_timeout,
            publisher=self._link,
            successor=lambda: self.client,
        )

    def connect(self) -> Connection:
        """Return a new connection to the App's broker and store, unopened; for a worker's own loop."""
        with self._lock:
            settings = self._with_addresses()
        topology = Topology.of(self.queues, self._exchanges, self._bindings, mode=settings.declare)  # type: ignore[arg-type]
        return Connection(
            settings=settings,
            plugins=self.plugins,
            clock=self.clock,
            random=self.random,
            topology=topology,
            scope=f"{self.main or 'app'}-{self._scope}",
        )

    def enter_child(self, link: Publishes) -> None:
        """Publish through ``link`` from now on: this process is a worker's child."""
        self._link = link
        self._client = None

    def flush(self, timeout: float | None = None) -> None:
        """Wait for the confirms that calls with ``publish_confirm="deferred"`` did not wait for.

        Args:
            timeout: seconds; ``None`` waits until each is answered, which takes no longer than ``publish_timeout``.

        Raises:
            PublishErrors: some were not taken since the last time; ``.failed`` holds their messages.
            TimeoutError: some were not answered in time.
        """
        deferred = self.client.deferred
        if deferred is not None:
            self.client.portal.may_block()
            deferred.wait(timeout)
            deferred.raise_refused()

    async def aflush(self, timeout: float | None = None) -> None:
        """Wait from a coroutine; as `flush`."""
        await asyncio.to_thread(self.flush, timeout)

    def close(self) -> None:
        """Flush what was sent and close the connection; the next use opens another. Idempotent.

        Raises:
            PublishErrors: of what was sent with ``publish_confirm="deferred"`` some was not taken, and nobody was told.
        """
        with self._lock:
            client, self._client = self._client, None
        if client is not None and client.pid == os.getpid():
            client.close()
            if client.deferred is not None:
                client.deferred.raise_refused()

    @property
    def locator(self) -> Locator | None:
        """How another process finds this App; ``None`` where it cannot: in a REPL, a notebook, from standard input."""
        return Locator.of(self, self._defined)

    def _with_addresses(self) -> Settings:
        broker, fleet = self.conf.broker, self.conf.fleet
        if not broker:
            path = default_file(self._defined)
            logger.info("no broker was given; using the SQLite file %s", path)
            broker = (file_broker(path),)
        if fleet is not None:
            broker = tuple(_for_fleet(url, fleet) for url in broker)
        return replace(self.conf, broker=broker)

    def worker_main(self, argv: Sequence[str] | None = None) -> None:
        """Run a worker for this App, as ``celeriac worker`` does, and end the process with its exit code.

        A module run as a program may end in this call; when it is imported instead, by a client or a worker's child,
        the call does nothing.

        Args:
            argv: the command's options; by default those of the process.
        """
        caller = sys._getframe(1)  # noqa: SLF001 - is a module being imported, or a program run?
        if is_importing() or (caller.f_code.co_name == "<module>" and caller.f_globals.get("__name__") != "__main__"):
            return
        from celeriac.cli import main  # noqa: PLC0415 - the one door up: a program becomes its own worker

        sys.exit(main(["worker", *(sys.argv[1:] if argv is None else argv)], app=self))

    def run_worker(self, **options: Any) -> RunningWorker:
        """Run a worker inside this process: ``with app.run_worker(pool="thread") as worker:``.

        Args:
            **options: as `celeriac.worker.WorkerOptions`; ``pool`` is ``"thread"`` by default.
        """
        from celeriac.worker.inprocess import RunningWorker  # noqa: PLC0415 - the one door up, as in worker_main

        return RunningWorker(self, **options)


class _TaskMaker(Protocol):
    """What ``@app.task(...)`` returns: the function's own types are kept."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap] # as App.task
    @overload
    def __call__(self, fn: Callable[P, R], /) -> FunctionTask[P, R]: ...


class _BoundTaskMaker(Protocol):
    """What ``@app.task(bind=True)`` returns: callers do not see the first argument."""

    @overload
    def __call__(self, fn: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap] # as App.task
    @overload
    def __call__(self, fn: Callable[Concatenate[Any, P], R], /) -> FunctionTask[P, R]: ...


def file_broker(path: Path) -> str:
    """Return the URL of the broker that needs no server, in the file ``path``."""
    return f"sqlite:///{quote(str(path))}"


def _queues_of(routes: Routes | None) -> list[Queue]:
    targets = routes.values() if isinstance(routes, Mapping) else ()
    return [target for target in targets if isinstance(target, Queue)]


def _by_name(queues: Sequence[Queue]) -> dict[str, Queue]:
    named: dict[str, Queue] = {}
    for queue in queues:
        if named.setdefault(queue.name, queue) != queue:
            raise ConfigurationError(f"queue {queue.name!r} is declared twice, in different ways; keep one of them")
    return named


def _exchanges_of(router: Router) -> list[Exchange]:
    targets = [target.exchange for target in router.targets() if isinstance(target, Route)]
    return [exchange for exchange in targets if isinstance(exchange, Exchange)]


def _for_fleet(url: str, fleet: str) -> str:
    """Tell the transport whose queues it shares, by the URL option that those which can share have."""
    return f"{url}{'&' if '?' in url else '?'}fleet={fleet}"
