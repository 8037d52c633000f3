"""What a test can let go wrong: in the real rooms, on the broker of a `Sandbox`.

==========================  ====================================================================================
`Faults.lose_connection`    every connection is lost at once, and opened again: a broker that restarts
`Faults.fail_publish`       the next call that sends is answered as told: nacked, returned, unconfirmed
`Faults.crash_after_run`    the worker dies when a task has ended and nothing is written: the task runs twice
`Faults.crash_after_result` the worker dies when the result is stored and the broker does not know: it runs once
==========================  ====================================================================================

A worker that crashed is started again, as a supervisor would do.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, cast

from celeriac import states
from celeriac.errors import ConfigurationError
from celeriac.message import Outcome, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from celeriac.message import Message
    from celeriac.publisher import NotTaken, Publishes
    from celeriac.results import ResultRecord
    from celeriac.transport import Transport

FAILURES = {
    "returned": Receipt(Outcome.RETURNED, "a fault that the test has injected"),
    "nacked": Receipt(Outcome.NACKED, "a fault that the test has injected"),
    "unconfirmed": Receipt(Outcome.UNCONFIRMED, "a fault that the test has injected"),
}


class WorkerCrash(BaseException):
    """The worker ends here, as if its process were killed: no handler may go on."""


class _Severable(Protocol):
    def sever(self) -> None: ...


def sever(transport: Transport) -> None:
    """Let a transport that lives inside a process lose its connection; on its loop."""
    cast("_Severable", transport).sever()


class Faults:
    """The faults of one sandbox. Each is armed once and happens once; callable from any thread."""

    def __init__(self, lose: Callable[[], None]) -> None:
        """Let nothing go wrong yet.

        Args:
            lose: loses every connection.
        """
        self._lose = lose
        self._lock = threading.Lock()
        self._answers: list[tuple[Receipt, bool]] = []
        self._crashes: list[str] = []

    def lose_connection(self) -> None:
        """Lose every connection of the App's client and workers: what they hold goes back."""
        self._lose()

    def fail_publish(self, outcome: str = "nacked", *, arrived: bool = False) -> None:
        """Let the next call that sends fail.

        Args:
            outcome: ``"nacked"``, ``"returned"`` or ``"unconfirmed"``: the caller gets `PublishNacked`, `Unroutable` or
                `PublishUnconfirmed`.
            arrived: the broker has the message all the same, as it may with ``"unconfirmed"``.

        Raises:
            ConfigurationError: no such outcome.
        """
        if outcome not in FAILURES or (arrived and outcome != "unconfirmed"):
            raise ConfigurationError(
                f"no publish ends {outcome!r}{' and arrives' if arrived else ''}; use one of {', '.join(FAILURES)}"
            )
        with self._lock:
            self._answers.append((FAILURES[outcome], arrived))

    def crash_after_run(self) -> None:
        """Let the worker die when the next task has ended, before anything of it is written: it is run again."""
        with self._lock:
            self._crashes.append("run")

    def crash_after_result(self) -> None:
        """Let the worker die when the next result is stored, before the broker is told.

        The task comes back, is recognised as done, and is not run again.
        """
        with self._lock:
            self._crashes.append("result")

    # asked by the sandbox's own publisher, transport and store

    def next_answer(self) -> tuple[Receipt, bool] | None:
        """Return how the call that sends now is to be answered, and whether it arrives all the same."""
        with self._lock:
            return self._answers.pop(0) if self._answers else None

    def is_time(self, after: str) -> bool:
        """Return whether a worker crashes now, ``after`` a ``run`` or a ``result``."""
        with self._lock:
            if after not in self._crashes:
                return False
            self._crashes.remove(after)
            return True


class FailingPublisher:
    """A `celeriac.publisher.Publishes` before the client's own, which fails when told to."""

    def __init__(self, inner: Publishes, faults: Faults) -> None:
        """Pass on to ``inner``."""
        self._inner = inner
        self._faults = faults

    def publish(self, messages: Sequence[Message], *not_taken: NotTaken) -> Future[Sequence[Receipt]]:
        """Publish, or do not; as `celeriac.publisher.Publisher.publish`."""
        answer = self._faults.next_answer()
        if answer is None:
            return self._inner.publish(messages, *not_taken)
        receipt, arrived = answer
        if arrived:
            self._inner.publish(messages).result()
        for tell in not_taken:
            for message in messages:
                tell(message, receipt)
        future: Future[Sequence[Receipt]] = Future()
        future.set_result([receipt] * len(messages))
        return future


def is_result(records: Sequence[ResultRecord]) -> bool:
    """Return whether one of these is the end of a run, and not just a sign of life."""
    return any(record.state in states.FINAL or record.state == states.RETRY for record in records)
