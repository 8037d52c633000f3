"""Workers as a `concurrent.futures.Executor`: what the standard library documents, for functions that run elsewhere.

One thread gives futures their results, so that their callbacks may block and send. It lives while futures are pending,
and the interpreter waits for it, as it does for the executors of the standard library.
"""

from __future__ import annotations

import threading
from concurrent import futures
from functools import partial
from inspect import iscoroutinefunction
from itertools import chain, islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac import states
from celeriac.errors import TaskRevoked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from celeriac.app import App
    from celeriac.result import AsyncResult
    from celeriac.results import ResultRecord

    Send = Callable[[Callable[..., Any], Sequence[Any], Mapping[str, Any]], AsyncResult[Any]]

T = TypeVar("T")
UNBEGUN = (states.PENDING, states.UNKNOWN)
NOTIFIED = "CANCELLED_AND_NOTIFIED"  # whoever waits for a cancelled future has been told


class TaskFuture(futures.Future[T]):
    """The result of one call, now or later.

    Attributes:
        id: the task's id.
    """

    def __init__(self, executor: TaskExecutor, result: AsyncResult[T]) -> None:
        """Stand for ``result``."""
        super().__init__()
        self.id = result.id
        self._executor = executor
        self._handle = result
        self._ending = threading.RLock()

    def cancel(self) -> bool:
        """Revoke the call if no worker has begun it; return whether it was revoked.

        What begins in that very moment, before the result store knows, still runs, and its result is dropped.
        """
        if not self.done() and self._executor.revoke([self]):
            self.drop()
        return self.cancelled()

    def running(self) -> bool:
        """Return whether a worker runs it; asks the result store."""
        return not self.done() and self._handle.state not in UNBEGUN and not self.done()

    def drop(self) -> None:
        """Be cancelled, if it has not ended."""
        with self._ending:
            if super().cancel() and self._state != NOTIFIED:
                self.set_running_or_notify_cancel()

    def settle(self, waited: futures.Future[ResultRecord]) -> None:
        """End as the task has ended: ``waited`` has its final record, or why there is none."""
        try:
            value = self._handle.outcome(waited.result())
        except (TaskRevoked, futures.CancelledError):
            self.drop()
        except BaseException as error:  # noqa: BLE001 - a task may raise anything, and it is the future's
            if self._begin_to_end():
                self.set_exception(error)
        else:
            if self._begin_to_end():
                self.set_result(value)

    def _begin_to_end(self) -> bool:
        """Return whether it ends now: it cannot be cancelled any more."""
        with self._ending:
            return not self.done() and self.set_running_or_notify_cancel()


class TaskExecutor(futures.Executor):
    """Runs functions by value on an App's workers; `App.executor` makes one."""

    def __init__(self, app: App, send: Send) -> None:
        """Run on ``app``'s workers what ``send`` sends: a function, its arguments, and those by name."""
        self._app = app
        self._send = send
        self._pending: dict[TaskFuture[Any], futures.Future[ResultRecord]] = {}
        self._news: SimpleQueue[TaskFuture[Any]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._sending = 0
        self._closed = False
        self._changed = threading.Condition()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> TaskFuture[T]:
        """Send a call; return once the broker has it.

        Raises:
            RuntimeError: the executor was shut down.
            EncodeError: the function or an argument cannot be pickled.
            PublishError: the broker did not take it within ``publish_timeout``.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._sending += 1
        try:
            result = self._send(fn, args, kwargs)
            return self._wait_for(TaskFuture(self, result), self._app.client.portal.start(result.final()))
        finally:
            with self._changed:
                self._sending -= 1
                self._changed.notify_all()

    def _wait_for(self, future: TaskFuture[T], waiting: futures.Future[ResultRecord]) -> TaskFuture[T]:
        with self._changed:
            self._pending[future] = waiting
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="celeriac-executor", daemon=False)
                self._thread.start()
        waiting.add_done_callback(lambda _: self._news.put(future))
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **more: Any,
    ) -> Iterator[T]:
        """Return the results of ``fn`` for each set of items, in order, ``chunksize`` of them to a task.

        Args:
            fn: the function.
            *iterables: collected at once; the shortest ends it.
            timeout: seconds from this call, after which the iterator raises `TimeoutError`.
            chunksize: calls that travel together.
            **more: what else the standard library's `Executor.map` takes in this Python.

        Raises:
            ValueError: ``chunksize`` is not 1 or more.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be 1 or more")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **more)
        run = partial(_run_all_async if iscoroutinefunction(fn) else _run_all, fn)
        chunks = super().map(run, _chunks(zip(*iterables, strict=False), chunksize), timeout=timeout, **more)
        return chain.from_iterable(chunks)  # type: ignore[arg-type] # each is a list of results

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as in the base
        """Take no more calls.

        Args:
            wait: return when all pending futures are done.
            cancel_futures: revoke what no worker has begun.
        """
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._sending)
            pending, thread = list(self._pending), self._thread
        if cancel_futures and pending:
            for future in self.revoke(pending):
                future.drop()
        if wait and thread is not None and thread is not threading.current_thread():
            thread.join()

    def revoke(self, pending: Sequence[TaskFuture[Any]]) -> Sequence[TaskFuture[Any]]:
        """Revoke those calls that no worker has begun, and return them; nobody waits for them any more."""
        ids = self._app.client.portal.run(self._revoke([future.id for future in pending]))
        revoked = [future for future in pending if future.id in ids]
        with self._changed:
            waiting = [self._pending[future] for future in revoked if future in self._pending]
        for each in waiting:
            each.cancel()
        return revoked

    async def _revoke(self, ids: Sequence[str]) -> Collection[str]:
        unbegun = await self._in_state(ids, UNBEGUN)
        if not unbegun:
            return ()
        await self._app.client.revoke(unbegun, terminate=False, best_effort=True)
        return await self._in_state(unbegun, (*UNBEGUN, states.REVOKED))  # but for those that have begun meanwhile

    async def _in_state(self, ids: Sequence[str], among: Collection[str]) -> Sequence[str]:
        await self._app.client.connection.ready()
        records = await self._app.client.connection.store.get(ids)
        return [each for each, record in zip(ids, records, strict=True) if record is None or record.state in among]

    def _work(self) -> None:
        """Give futures their ends as these come, until none is pending."""
        while True:
            future = self._news.get()
            future.settle(self._pending[future])
            with self._changed:
                del self._pending[future]
                if not self._pending:
                    self._thread = None
                    return


def _chunks(calls: Iterable[Sequence[Any]], size: int) -> Iterator[list[Sequence[Any]]]:
    rest = iter(calls)
    while chunk := list(islice(rest, size)):
        yield chunk


def _run_all(fn: Callable[..., T], calls: Sequence[Sequence[Any]]) -> list[T]:
    """Run a chunk; in a worker."""
    return [fn(*args) for args in calls]


async def _run_all_async(fn: Callable[..., Any], calls: Sequence[Sequence[Any]]) -> list[Any]:
    """Run a chunk of coroutines, one after the other; in a worker."""
    return [await fn(*args) for args in calls]
