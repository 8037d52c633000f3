"""The I/O loop of a process, for callers that block and callers on other loops alike.

One daemon thread runs one event loop, made at the first use, shared by every App of the process. After a fork the child
forgets it and makes its own: it closes neither the loop nor its sockets (closing an inherited selector would break the
parent), it only points their descriptors at ``/dev/null``.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import sys
import threading
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from celeriac.crossing import Crossing
from celeriac.errors import CeleriacError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Future

T = TypeVar("T")
LAST_WORDS = 1.0  # seconds for tasks that are cancelled at the end


class Portal:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        """Start the thread; returns once its loop runs."""
        _refuse_monkey_patching()
        self.loop = asyncio.new_event_loop()
        self._at_exit: list[Callable[[], None]] = []
        self._warned = False
        ready = threading.Event()
        self.loop.call_soon(ready.set)
        self._thread = threading.Thread(target=self.loop.run_forever, name="celeriac-portal", daemon=True)
        self._thread.start()
        ready.wait()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run ``coroutine`` on the portal's loop; callable from any thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run ``coroutine`` on the portal's loop and wait for its result.

        Raises:
            TimeoutError: it did not end within ``timeout`` seconds; it is cancelled.
        """
        try:
            self.may_block()
        except CeleriacError:
            coroutine.close()
            raise
        future = self.start(coroutine)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def may_block(self) -> None:
        """Refuse to block the portal's own thread, and warn once where another running loop would be blocked.

        Raises:
            CeleriacError: this is the portal's thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            raise CeleriacError("a blocking call on celeriac's own loop would wait for itself; await the async form")
        if self._warned:
            return
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            self._warned = True
            warnings.warn(
                "a blocking celeriac call inside a running event loop blocks that loop; await adelay(), aget() or the "
                "other a... forms instead",
                RuntimeWarning,
                stacklevel=4,
            )

    def at_exit(self, function: Callable[[], None]) -> None:
        """Call ``function`` when the process ends, while the loop still runs."""
        self._at_exit.append(function)

    def not_at_exit(self, function: Callable[[], None]) -> None:
        """Take back `at_exit`; what is not there is no error."""
        with contextlib.suppress(ValueError):
            self._at_exit.remove(function)

    def shut(self) -> None:
        """Call what asked for it, cancel what is left on the loop, stop it and join the thread."""
        for function in self._at_exit[::-1]:
            function()
        self.start(_cancel_the_rest()).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def abandon(self) -> None:
        """Forget the loop in a forked child: point its descriptors at ``/dev/null``, close nothing."""
        selector = getattr(self.loop, "_selector", None)
        if selector is None:
            return
        descriptors = {key.fd for key in list(selector.get_map().values())}
        for part in (selector, self.loop._csock, self.loop._ssock):  # type: ignore[attr-defined] # noqa: SLF001 - asyncio has no public name for them
            with contextlib.suppress(AttributeError, OSError, ValueError):
                descriptors.add(part.fileno())
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.dup2(null, descriptor)
        os.close(null)


_Answer = tuple[asyncio.Future[Any], "Future[Any]"]
_crossings: WeakKeyDictionary[asyncio.AbstractEventLoop, Crossing[_Answer]] = WeakKeyDictionary()


def awaitable(future: Future[T]) -> asyncio.Future[T]:
    """Return a future of the running loop that ends as ``future`` does; cancelled, it leaves ``future`` alone.

    As `asyncio.wrap_future`, which wakes the loop by a system call for each future: of 500 sends that are gathered,
    that was a quarter of their cost.
    """
    loop = asyncio.get_running_loop()
    crossing = _crossings.get(loop)
    if crossing is None:
        crossing = _crossings[loop] = Crossing(_hand_over)
    here: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(partial(_cross, crossing, here))
    return here


def _cross(crossing: Crossing[_Answer], here: asyncio.Future[Any], there: Future[Any]) -> None:
    with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
        crossing.put((here, there), here.get_loop())


def _hand_over(answers: Iterator[_Answer]) -> None:
    for here, there in answers:
        if here.done():  # whoever waited was cancelled
            continue
        if there.cancelled():
            here.cancel()
        elif (error := there.exception()) is None:
            here.set_result(there.result())
        else:
            here.set_exception(error)


async def _cancel_the_rest() -> None:
    """As `asyncio.run` does: a driver may leave tasks behind, which the loop would complain of at its end."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=LAST_WORDS)


_current: Portal | None = None
_abandoned: list[Portal] = []  # kept, so that no destructor of the parent's objects runs in the child
_lock = threading.Lock()


def portal() -> Portal:
    """Return this process's portal; made at the first call.

    Raises:
        ConfigurationError: the process is monkey-patched by gevent or eventlet.
    """
    global _current  # noqa: PLW0603 - one loop a process is the point
    with _lock:
        if _current is None:
            _current = Portal()
        return _current


def _after_fork() -> None:
    global _current, _lock  # noqa: PLW0603
    _lock = threading.Lock()
    if _current is not None:
        _current.abandon()
        _abandoned.append(_current)
        _current = None


def _at_exit() -> None:
    global _current  # noqa: PLW0603
    if _current is not None:
        _current.shut()
        _current = None


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)


def _refuse_monkey_patching() -> None:
    for name in ("gevent.monkey", "eventlet.patcher"):
        module = sys.modules.get(name)
        patched = getattr(module, "is_module_patched", None) or getattr(module, "is_monkey_patched", None)
        if patched is not None and (patched("threading") or patched("thread")):
            raise ConfigurationError(
                f"{name.partition('.')[0]} has monkey-patched threading; celeriac needs real threads: "
                "do not patch, or patch with thread=False"
            )
