"""Sends that nobody waits for (``publish_confirm="deferred"``): how what the broker did not take is told all the same.

It is logged as it happens, raised by the handle of the call, and raised once more by `App.flush` and `App.close`.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from celeriac.clock import SystemClock
from celeriac.errors import PublishErrors
from celeriac.publisher import raise_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from celeriac.message import Message, Receipt
    from celeriac.publisher import Publisher

logger = logging.getLogger("celeriac.publisher")

MOST_UNDER_WAY = 10_000  # beyond these a call waits for the oldest: a broker that is slow must not fill our memory
_monotonic = SystemClock().monotonic


class Deferred:
    """What one client has sent without waiting, and what of it was not taken."""

    def __init__(self, publisher: Publisher) -> None:
        """Send by way of ``publisher``."""
        self._publisher = publisher
        self._under_way: deque[Future[Sequence[Receipt]]] = deque()
        self._refused: deque[tuple[Message, Receipt]] = deque()

    def send(self, message: Message) -> Pending:
        """Hand a message over and return at once; callable from any thread."""
        future = self._publisher.publish([message], self._not_taken)
        self._under_way.append(future)
        return Pending(message, future)

    def crowd(self) -> Future[Sequence[Receipt]] | None:
        """Return what is to be waited for before more is sent; ``None`` as a rule."""
        under_way = self._under_way
        try:
            while under_way[0].done():
                under_way.popleft()
        except IndexError:
            return None
        return under_way[0] if len(under_way) >= MOST_UNDER_WAY else None

    def wait(self, timeout: float | None = None) -> None:
        """Return once all that was handed over so far is answered.

        Args:
            timeout: seconds; each is answered within ``publish_timeout`` of its call anyway.

        Raises:
            TimeoutError: some were not answered in time.
        """
        deadline = None if timeout is None else _monotonic() + timeout
        for future in list(self._under_way):
            future.exception(None if deadline is None else max(0.0, deadline - _monotonic()))

    def raise_refused(self) -> None:
        """Raise for all that was not taken and has not been raised here before.

        Raises:
            PublishErrors: ``.failed`` holds the messages.
        """
        refused = [self._refused.popleft() for _ in range(len(self._refused))]
        if refused:
            raise PublishErrors([receipt for _, receipt in refused], [message for message, _ in refused])

    def _not_taken(self, message: Message, receipt: Receipt) -> None:
        logger.error("message %s, whose confirm nobody waited for, was %s", message.id, receipt)
        self._refused.append((message, receipt))


class Pending:
    """One message under way."""

    __slots__ = ("_future", "_message")

    def __init__(self, message: Message, future: Future[Sequence[Receipt]]) -> None:
        """Wait for nothing."""
        self._message = message
        self._future = future

    @property
    def future(self) -> Future[Sequence[Receipt]]:
        """Done when the broker has answered."""
        return self._future

    def check(self) -> None:
        """Raise, if it was answered and not taken, as `Task.delay` would have."""
        if self._future.done():
            raise_for([self._message], self._future.result())
