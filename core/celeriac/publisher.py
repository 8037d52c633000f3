"""From any thread to the broker: messages are handed to the portal's loop without a coroutine a call.

Whatever has gathered when the loop looks is published together, so that many threads share round trips.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from celeriac.crossing import Crossing
from celeriac.errors import (
    ConfigurationError,
    ConnectionLost,
    PublishError,
    PublishErrors,
    PublishNacked,
    PublishUnconfirmed,
    TransportError,
    Unroutable,
)
from celeriac.message import Outcome, Receipt
from celeriac.topology import DEFAULT_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Protocol

    from celeriac.connection import Connection
    from celeriac.message import Message

    NotTaken = Callable[[Message, Receipt], None]

    class Publishes(Protocol):
        """Whatever takes messages from any thread."""

        def publish(self, messages: Sequence[Message]) -> Future[Sequence[Receipt]]:
            """Publish; the future has one receipt a message."""
            ...


logger = logging.getLogger("celeriac.publisher")

TRY_AGAIN = 0.05
AT_ONCE = 1000
ERRORS: dict[Outcome, type[PublishError]] = {
    Outcome.RETURNED: Unroutable,
    Outcome.NACKED: PublishNacked,
    Outcome.UNCONFIRMED: PublishUnconfirmed,
    Outcome.NOT_SENT: PublishError,
}


@dataclass(slots=True, eq=False)
class _Entry:
    """One caller's messages, what became of them so far, and who waits, or wants to hear of those not taken."""

    messages: Sequence[Message]
    not_taken: NotTaken | None = None
    receipts: dict[int, Receipt] = field(default_factory=dict)
    future: Future[Sequence[Receipt]] = field(default_factory=Future)
    loss: ConnectionLost | None = None  # the last that its messages met

    def open(self) -> list[int]:
        """Return the places of the messages that may still be sent, or sent again with the same id."""
        final = (Outcome.CONFIRMED, Outcome.RETURNED, Outcome.NACKED)
        receipts = self.receipts
        return [i for i in range(len(self.messages)) if i not in receipts or receipts[i].outcome not in final]

    def finish(self) -> None:
        """Give the caller its receipts."""
        receipts = [self.receipts[i] for i in range(len(self.messages))]
        self._tell(receipts)
        if not self.future.done():
            self.future.set_result(receipts)

    def fail(self, error: BaseException) -> None:
        """Give the caller an error: nothing of its call was taken."""
        self._tell([Receipt(Outcome.NOT_SENT, str(error) or repr(error))] * len(self.messages))
        if not self.future.done():
            self.future.set_exception(error)

    def _tell(self, receipts: Sequence[Receipt]) -> None:
        if self.not_taken is not None:
            for message, receipt in zip(self.messages, receipts, strict=True):
                if not receipt.ok:
                    self.not_taken(message, receipt)


class Publisher:
    """Publishes for one App in one process, over one connection."""

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        """Begin with nothing to do.

        Args:
            connection: supervised elsewhere.
            loop: where it lives.
            timeout: seconds in which every call is answered, attempts and waiting for the broker included.
        """
        self._connection = connection
        self._loop = loop
        self._timeout = timeout
        self._inbox = Crossing(self._begin)
        self._flushing: dict[asyncio.Task[None], float] = {}  # and when each must have answered, the first one first
        self._overdue: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def publish(self, messages: Sequence[Message], not_taken: NotTaken | None = None) -> Future[Sequence[Receipt]]:
        """Publish; callable from any thread. The future has one receipt a message, or the error of them all.

        Args:
            messages: what to publish.
            not_taken: called on the loop, before the future is done, for each that the broker did not take.
        """
        entry = _Entry(messages, not_taken)
        entry.future.set_running_or_notify_cancel()  # a caller who goes away does not call back what may be on its way
        self._inbox.put(entry, self._loop)
        return entry.future

    async def flush(self) -> None:
        """Return when everything handed over so far has been answered."""
        self._inbox.hand_over()
        while self._flushing:
            await asyncio.wait(self._flushing)

    def _begin(self, entries: Iterator[_Entry]) -> None:
        task = self._loop.create_task(self._answer(list(entries)))
        self._flushing[task] = deadline = self._loop.time() + self._timeout
        task.add_done_callback(self._answered_all)
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._expire)

    def _answered_all(self, task: asyncio.Task[None]) -> None:
        del self._flushing[task]
        self._overdue.discard(task)

    def _expire(self) -> None:
        """Cancel what is overdue. One timer for all: a timeout of its own took some 20 us a call."""
        self._timer = None
        now = self._loop.time()
        for task, deadline in self._flushing.items():
            if deadline > now:
                self._timer = self._loop.call_at(deadline, self._expire)
                return
            self._overdue.add(task)
            task.cancel()

    async def _answer(self, entries: list[_Entry]) -> None:
        try:
            await self._publish(entries)
        except (asyncio.CancelledError, TimeoutError) as error:  # overdue, or a plugin's own
            if isinstance(error, asyncio.CancelledError) and asyncio.current_task() not in self._overdue:
                raise
            for entry in entries:
                self._time_out(entry)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the callers must hear of it
            for entry in entries:
                entry.fail(error)

    async def _publish(self, entries: list[_Entry]) -> None:
        """Publish until every message has a final answer, in the time that `_answer` gives."""
        declared_again = False
        while True:
            await self._connection.ready()
            try:
                await self._attempt(entries)
            except ConnectionLost as error:
                for entry in entries:
                    entry.loss = error
                await self._connection.clock.sleep(TRY_AGAIN)
                continue
            except (TransportError, ConfigurationError) as error:
                await self._blame(entries, error)
                return
            if not declared_again and any(map(_was_ours, entries)):
                declared_again = True
                await self._restore(entries)
            entries = [entry for entry in entries if not self._answered(entry)]
            if not entries:
                return
            await self._connection.clock.sleep(TRY_AGAIN)

    async def _attempt(self, entries: list[_Entry]) -> None:
        """Publish once what is still open."""
        places = [(entry, i) for entry in entries for i in entry.open()]
        messages = [entry.messages[i] for entry, i in places]
        await self._connection.declare({m.routing_key for m in messages if m.exchange == DEFAULT_EXCHANGE})
        wanted = [m.id for m in messages if m.headers.get("ignore_result") is False]
        if wanted:
            await self._connection.store.sent(wanted)
        for start in range(0, len(messages), AT_ONCE):
            chunk = places[start : start + AT_ONCE]
            for entry, i in chunk:
                entry.receipts[i] = Receipt(Outcome.UNCONFIRMED, "the broker has not confirmed it")
            try:
                receipts = await self._connection.transport.publish(messages[start : start + AT_ONCE])
            except TransportError:
                for entry, i in chunk:  # it raises only when nothing of the call was written
                    del entry.receipts[i]
                raise
            for (entry, i), receipt in zip(chunk, receipts, strict=True):
                entry.receipts[i] = receipt

    async def _restore(self, entries: list[_Entry]) -> None:
        """Declare again what someone has deleted, so that what came back for the want of it is sent again."""
        try:
            await self._connection.declare_again()
        except ConnectionLost:
            pass  # it is declared when the connection is open again
        except (TransportError, ConfigurationError) as error:
            logger.warning("cannot declare the queues again: %s", error)
            return
        for entry in entries:
            _forget_returned(entry)

    async def _blame(self, entries: list[_Entry], error: Exception) -> None:
        """Let an error reach only the callers whose messages it speaks of."""
        if len(entries) == 1:
            entries[0].fail(error)
            return
        for entry in entries:
            await self._publish([entry])

    @staticmethod
    def _answered(entry: _Entry) -> bool:
        if entry.open():
            return False
        entry.finish()
        return True

    def _time_out(self, entry: _Entry) -> None:
        if entry.receipts:
            not_sent = Receipt(Outcome.NOT_SENT, f"not within publish_timeout={self._timeout} s")
            entry.receipts = {i: entry.receipts.get(i, not_sent) for i in range(len(entry.messages))}
            entry.finish()
            return
        cause = self._connection.last_error or entry.loss
        text = f"the broker {self._connection.address} did not answer within publish_timeout={self._timeout} s"
        error = ConnectionLost(f"{text}: {cause}" if cause else text)
        error.__cause__ = cause
        entry.fail(error)


def raise_for(messages: Sequence[Message], receipts: Sequence[Receipt]) -> None:
    """Raise the error of a single message that was not taken, or `PublishErrors` for many.

    Raises:
        PublishError: one of its subclasses.
    """
    failed = [message for message, receipt in zip(messages, receipts, strict=True) if not receipt.ok]
    if not failed:
        return
    if len(messages) > 1:
        raise PublishErrors(receipts, failed)
    where = f"exchange {messages[0].exchange!r}, routing key {messages[0].routing_key!r}"
    raise ERRORS[receipts[0].outcome](f"message {messages[0].id} to {where} was {receipts[0]}")


def _was_ours(entry: _Entry) -> bool:
    """Return whether a message came back from the default exchange: its queue, declared before, is gone."""
    return any(
        receipt.outcome is Outcome.RETURNED and entry.messages[i].exchange == DEFAULT_EXCHANGE
        for i, receipt in entry.receipts.items()
    )


def _forget_returned(entry: _Entry) -> None:
    for i, receipt in list(entry.receipts.items()):
        if receipt.outcome is Outcome.RETURNED:
            del entry.receipts[i]
