"""From any thread to an event loop, which is woken once for all that gathers until it looks.

`loop.call_soon_threadsafe` for each thing costs a system call and a turn of the loop for each.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Crossing(Generic[T]):
    """Things on their way to one event loop, in the order in which they were put.

    It keeps no reference to the loop.
    """

    def __init__(self, take: Callable[[Iterator[T]], None], *, after: float = 0.0) -> None:
        """Send nothing yet.

        Args:
            take: called on the loop with what has gathered; what it does not take goes with the next.
            after: seconds in which more may gather, once the loop has been woken.
        """
        self._take = take
        self._after = after
        self._gathered: deque[T] = deque()
        self._awake = False

    def put(self, thing: T, loop: asyncio.AbstractEventLoop) -> None:
        """Send ``thing`` to ``loop``, always the same one; callable from any thread.

        Raises:
            RuntimeError: the loop is closed, and nothing is kept.
        """
        self._gathered.append(thing)
        if not self._awake:
            self._awake = True
            try:
                if self._after:
                    loop.call_soon_threadsafe(loop.call_later, self._after, self.hand_over)
                else:
                    loop.call_soon_threadsafe(self.hand_over)
            except RuntimeError:
                self._gathered.clear()  # they may refer to the loop, which may go
                raise

    def hand_over(self) -> None:
        """Hand over what has gathered, if anything has; on the loop."""
        self._awake = False  # before it is emptied: who puts something after this wakes the loop again
        if self._gathered:
            self._take(self._emptied())

    def _emptied(self) -> Iterator[T]:
        while self._gathered:
            yield self._gathered.popleft()
