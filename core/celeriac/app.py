"""The App: where tasks are declared, and everything of one program that has a configuration."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import asynccontextmanager
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from celeriac.errors import ConfigurationError, UnknownOption
from celeriac.parts import SETTLED
from celeriac.registry import TaskRegistry
from celeriac.retry import RetryOptions
from celeriac.submit import Submits
from celeriac.task import CALL_OPTIONS, NO_OPTIONS, RETRY_OPTIONS, CoroutineTask, FunctionTask, Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from celeriac.client import Client
    from celeriac.clock import Clock
    from celeriac.connection import Connection
    from celeriac.locator import Locator
    from celeriac.middleware import Middleware
    from celeriac.publisher import Publishes
    from celeriac.result import AsyncResult
    from celeriac.routing import Routes
    from celeriac.sender import Batch
    from celeriac.task import BoundTaskMaker, TaskMaker
    from celeriac.topology import Binding, Exchange, Queue
    from celeriac.worker.inprocess import RunningWorker

P = ParamSpec("P")
R = TypeVar("R")
LifespanT = TypeVar("LifespanT", bound="Callable[[], AsyncIterator[Any]]")

TASK_OPTIONS = ("name", "bind", "acks_late", "ignore_result", "track_started", "typing", "result_serializer")
ALL_OPTIONS = (*TASK_OPTIONS, *RETRY_OPTIONS, *CALL_OPTIONS)


class App(Submits):
    """A program's tasks, queues and settings.

    Constructing one opens nothing: no socket, file or thread. Several live in one process; every public method may be
    called from any thread.

    Attributes:
        main: stands for ``__main__`` in the names of tasks declared in a program.
        configuration: where the settings come from.
        tasks: the tasks by name.
        clock: where the time comes from.
        found_by: the module by which a command found it, which other processes import too: it may import more tasks.
    """

    found_by: Locator | None = None

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
        middleware: Sequence[Middleware] = (),
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
            middleware: what stands around every publish and run, the first around all others.
            clock: where the time comes from, for tests.
            **settings: any field of `celeriac.settings.Settings`.

        Raises:
            UnknownOption: a setting of an unknown name, with a did-you-mean.
            ConfigurationError: a value that cannot work.
        """
        from celeriac.clock import SystemClock  # noqa: PLC0415 - these three are for Apps, not for who imports their names
        from celeriac.configuration import Configuration  # noqa: PLC0415
        from celeriac.declared import Declared  # noqa: PLC0415

        self.main = main
        self._defined = sys._getframe(1).f_globals  # noqa: SLF001 - the module that says App(...) is where workers find it
        self.configuration = Configuration({**settings, "broker": broker, "backend": backend}, self._defined)
        self.tasks = TaskRegistry(self)
        if middleware:
            from celeriac.middleware import check  # noqa: PLC0415 - most have none

            for each in middleware:
                check(each)
        self._middleware = tuple(middleware)
        self.clock: Clock = clock or SystemClock()
        self._declared = Declared.of(queues, exchanges, bindings, routes)
        self._routes = routes
        self.lifespan_function: Callable[[], AbstractAsyncContextManager[Any]] | None = None
        self._client: Client | None = None
        self._link: Publishes | None = None
        self._lock = threading.RLock()
        self._scope = os.urandom(16).hex()

    def config_from_object(self, source: Any, *, namespace: str | None = None) -> None:
        """Take settings from ``source``, where neither an argument nor the environment says otherwise.

        Args:
            source: the name of a module, or ``"module:attribute"``, which is imported when a setting is first needed;
                a mapping; or any object, whose attributes are settings.
            namespace: only names like ``NAMESPACE_GRACE`` are settings, and all others are somebody else's.

        Raises:
            ConfigurationError: the App is in use already.
        """
        if self._client is not None:
            raise ConfigurationError("the App is in use already; call config_from_object where it is constructed")
        self.configuration.use(source, namespace)
        for name in SETTLED:
            self.__dict__.pop(name, None)

    def __repr__(self) -> str:
        """Return ``<App main:0x...>``."""
        return f"<App {self.main or '__main__'}:{id(self):#x}>"

    @overload
    def task(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap] # a coroutine function is also a function; the first that fits is meant
    @overload
    def task(self, fn: Callable[P, R], /) -> FunctionTask[P, R]: ...
    @overload
    def task(self, fn: None = None, /, *, bind: Literal[True], **options: Any) -> BoundTaskMaker: ...
    @overload
    def task(self, fn: None = None, /, *, bind: Literal[False] = False, **options: Any) -> TaskMaker: ...
    def task(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Declare a task: ``@app.task`` or ``@app.task(queue="mail", acks_late=False)``.

        Args:
            fn: a ``def`` or ``async def`` function; it stays callable.
            **options: ``name`` (default: module and function), ``bind`` (the function's first argument is the task),
                ``acks_late``, ``ignore_result``, ``track_started``, ``result_serializer``, ``typing`` (false: the
                annotations are not looked at), the options about retries (see `celeriac.retry.RetryOptions`), and any
                call option as the task's default (see `CallOptions`).

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
            file = getattr(sys.modules["__main__"], "__file__", None) or "__main__"
            stem = os.path.splitext(os.path.basename(file))[0]  # noqa: PTH119, PTH122 - pathlib would double the import
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
        from celeriac.sender import Batch  # noqa: PLC0415

        return Batch(self)

    def AsyncResult(self, task_id: str) -> AsyncResult[Any]:  # noqa: N802 - Celery's name for it
        """Return the result of a task by its id."""
        from celeriac.result import AsyncResult as Result  # noqa: PLC0415

        return Result(task_id, self.client)

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
        import asyncio  # noqa: PLC0415 - it is there where a coroutine runs

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
        from celeriac.client import Client  # noqa: PLC0415
        from celeriac.portal import portal  # noqa: PLC0415

        connection, publisher = self.connect(), self._link
        if publisher is None and self.conf.task_always_eager:
            from celeriac.worker.eager import Eager  # noqa: PLC0415 - a door up, as in worker_main

            publisher = Eager(self, connection, portal())
        return Client(
            connection,
            portal(),
            self.codecs,
            publish_timeout=self.conf.publish_timeout,
            publisher=publisher,
            successor=lambda: self.client,
        )

    def connect(self) -> Connection:
        """Return a new connection to the App's broker and store, unopened; for a worker's own loop."""
        from celeriac.addresses import with_addresses  # noqa: PLC0415
        from celeriac.connection import Connection, in_process  # noqa: PLC0415

        settings = in_process(self.conf, self.plugins) or with_addresses(self.conf, self._defined)
        return Connection(
            settings=settings,
            plugins=self.plugins,
            clock=self.clock,
            random=self.random,
            topology=self._declared.topology(self.queues, settings.declare),
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
        import asyncio  # noqa: PLC0415 - as in `arevoke`

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
        from celeriac.locator import Locator  # noqa: PLC0415

        return self.found_by or Locator.of(self, self._defined)

    def worker_main(self, argv: Sequence[str] | None = None) -> None:
        """Run a worker for this App, as ``celeriac worker`` does, and end the process with its exit code.

        A module run as a program may end in this call; when it is imported instead, by a client or a worker's child,
        the call does nothing.

        Args:
            argv: the command's options; by default those of the process.
        """
        from celeriac.locator import is_importing  # noqa: PLC0415

        caller = sys._getframe(1)  # noqa: SLF001 - is a module being imported, or a program run?
        if is_importing() or (caller.f_code.co_name == "<module>" and caller.f_globals.get("__name__") != "__main__"):
            return
        from celeriac.cli import main  # noqa: PLC0415 - the one door up: a program becomes its own worker

        sys.exit(main(["worker", *(sys.argv[1:] if argv is None else argv)], app=self))

    def run_worker(self, **options: Any) -> RunningWorker:
        """Run a worker inside this process: ``with app.run_worker(pool="thread") as worker:``.

        Args:
            **options: as `celeriac.worker.WorkerOptions`; ``pool`` is ``"thread"`` by default. ``prepare`` is called
                with the worker before it begins: to add observers, say.
        """
        from celeriac.worker.inprocess import RunningWorker  # noqa: PLC0415 - the one door up, as in worker_main

        return RunningWorker(self, **options)
