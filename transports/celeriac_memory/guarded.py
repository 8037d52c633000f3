"""One operation at a time, whichever thread calls, and whenever the garbage collector runs."""

from __future__ import annotations

import functools
import threading
from collections import deque
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")
G = TypeVar("G", bound="Guarded")


class Guarded:
    """What several threads share; its methods are `locked`, those that a destructor may call `locked_or_late`."""

    def __init__(self) -> None:
        """Be free."""
        self._lock = threading.RLock()  # a destructor may come while this thread takes or frees it
        self._busy = False  # an operation is under way
        self._late: deque[Callable[[], None]] = deque()  # what is to be done at its end


def locked(method: Callable[Concatenate[G, P], R]) -> Callable[Concatenate[G, P], R]:
    """Let one such method run at a time. They must not call each other."""

    @functools.wraps(method)
    def one_at_a_time(self: G, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            self._busy = True
            try:
                return method(self, *args, **kwargs)
            finally:
                while self._busy:
                    while self._late:
                        self._late.popleft()()
                    self._busy = False
                    self._busy = bool(self._late)  # a destructor came before we said that we are done

    return one_at_a_time


def locked_or_late(method: Callable[Concatenate[G, P], None]) -> Callable[Concatenate[G, P], None]:
    """Lock as `locked`; from within an operation of this thread, wait for its end.

    That is where a destructor may call: the garbage collector runs whenever it likes, at any instruction, and ends what
    was abandoned.
    """
    now = locked(method)

    @functools.wraps(method)
    def now_or_after(self: G, /, *args: P.args, **kwargs: P.kwargs) -> None:
        with self._lock:
            if self._busy:
                self._late.append(functools.partial(method, self, *args, **kwargs))
            else:
                now(self, *args, **kwargs)

    return now_or_after
