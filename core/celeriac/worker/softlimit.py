"""The soft time limit of a task: `SoftTimeLimitExceeded` is raised inside it, wherever it is.

- A ``def`` task on the main thread gets it by ``SIGALRM``, which also wakes what waits in the kernel.
- A ``def`` task on another thread gets it at its next step in Python: not while it sleeps or waits. That is the best
  CPython can do (``PyThreadState_SetAsyncExc``).
- A coroutine is cancelled, as by `asyncio.timeout`, with an exception that is both a cancellation, which the libraries
  it waits in must see, and the error that it may catch by its name.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import threading
import types
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.errors import SoftTimeLimitExceeded
from celeriac.worker.executors.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from types import FrameType, TracebackType

T = TypeVar("T")

_AGAIN_SECONDS = 0.05
_NEVER_INSIDE = Outbox.send.__code__  # half a frame written would spoil all that the process says afterwards
_UNLIMITED: AbstractContextManager[None] = nullcontext()


class CancelledSoftly(asyncio.CancelledError, SoftTimeLimitExceeded):
    """What a coroutine gets at its soft limit."""


def soft_limit(seconds: float | None) -> AbstractContextManager[None]:
    """Return a block inside which `SoftTimeLimitExceeded` is raised on this thread after ``seconds``."""
    if seconds is None:
        return _UNLIMITED
    return _Alarm(seconds) if threading.current_thread() is threading.main_thread() else _Injection(seconds)


@types.coroutine
def limited_softly(coroutine: Coroutine[Any, Any, T], seconds: float) -> Generator[Any, Any, T]:
    """Await ``coroutine``, into which `CancelledSoftly` is raised after ``seconds``.

    Raises:
        SoftTimeLimitExceeded: the coroutine let the cancellation through.
    """
    waiter, steps = _Waiter(seconds), coroutine.__await__()
    error: BaseException | None = None
    answer: Any = None
    try:
        while True:
            try:
                awaited = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            answer, error = None, None
            try:
                answer = yield awaited
            except GeneratorExit:
                steps.close()
                raise
            except BaseException as raised:  # noqa: BLE001 - whatever it is, it is the coroutine's
                error = waiter.translated(raised)
    except asyncio.CancelledError as cancelled:
        if waiter.is_over and not waiter.task.cancelling():
            raise SoftTimeLimitExceeded(_text(seconds)).with_traceback(cancelled.__traceback__) from None
        raise
    finally:
        waiter.timer.cancel()


class _Waiter:
    """Cancels the current asyncio task when the time is over."""

    def __init__(self, seconds: float) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a coroutine is limited inside an asyncio task only")
        self.task = task
        self.is_over = False
        self._seconds = seconds
        self._told = False
        self.timer = asyncio.get_running_loop().call_later(seconds, self._ring)

    def translated(self, raised: BaseException) -> BaseException:
        """Return what the coroutine is to get for ``raised``: a cancellation that was ours, by its name."""
        if not self.is_over or self._told or not isinstance(raised, asyncio.CancelledError):
            return raised
        self._told = True
        return raised if self.task.uncancel() else CancelledSoftly(_text(self._seconds))

    def _ring(self) -> None:
        self.is_over = True
        self.task.cancel()


class _Alarm(AbstractContextManager[None]):
    """On the main thread: by the process's alarm, which is the task's own again afterwards.

    It rings until it is heard: CPython forgets to look for signals between being given the GIL and a call that waits.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._armed = True

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, _AGAIN_SECONDS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)

    def _ring(self, _number: int, frame: FrameType | None) -> None:
        if not self._armed:
            return
        while frame is not None:
            if frame.f_code is _NEVER_INSIDE:
                return
            frame = frame.f_back
        self._armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise SoftTimeLimitExceeded(_text(self._seconds))


class _Injection(AbstractContextManager[None]):
    """On any other thread: by a timer that injects the exception."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._armed = True

    def __enter__(self) -> None:
        self._thread = ctypes.c_ulong(threading.get_ident())
        self._timer = threading.Timer(self._seconds, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._armed = False
        ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, None)  # one that was injected just now
        self._timer.cancel()

    def _ring(self) -> None:
        with self._lock:
            if self._armed:
                error = ctypes.py_object(SoftTimeLimitExceeded)  # as a class: CPython makes the instance
                ctypes.pythonapi.PyThreadState_SetAsyncExc(self._thread, error)


def _text(seconds: float) -> str:
    return f"the soft_time_limit of {seconds:g} s is over"
