"""Room 5: the only writer. Always in this order: store the results, then settle the deliveries.

What has gathered while the last batch was on its way goes together in the next. A crash anywhere leaves a duplicate,
never a loss.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac import states
from celeriac.errors import CeleriacError, ConfigurationError, ConnectionLost, MessageTooLarge, Unsupported
from celeriac.message import Dead, DeadLetter, Move, Requeue, Settlement, SettleReceipt
from celeriac.protocol import ErrorData
from celeriac.publisher import raise_for
from celeriac.worker.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from celeriac.clock import Clock
    from celeriac.message import Action, Delivery, Message, Receipt
    from celeriac.results import ResultRecord, ResultStore
    from celeriac.transport import Consumer

logger = logging.getLogger("celeriac.worker")

AT_ONCE = 500
STORE_ATTEMPTS = 5
FIRST_PAUSE = 0.1
GIVE_BACK = timedelta(seconds=5)
UNSENDABLE = "unsendable"
UNSTORABLE = ErrorData(type="MessageTooLarge", module="celeriac.errors", args=[], message="").encode()


@dataclass(frozen=True, slots=True)
class Item:
    """One delivery to be settled, by the consumer that delivered it."""

    consumer: Consumer
    delivery: Delivery
    verdict: Verdict


class Settler:
    """Stores and settles, batch by batch."""

    def __init__(
        self,
        store: ResultStore,
        clock: Clock,
        settled: Callable[[Item, SettleReceipt], None],
        publish: Callable[[Sequence[Message]], Awaitable[Sequence[Receipt]]],
        is_ours: Callable[[Item], bool] = lambda _item: True,
    ) -> None:
        """Begin with nothing to do.

        Args:
            store: where records go.
            clock: for the pauses between attempts.
            settled: told of each delivery that is out of our hands; must not raise.
            publish: sends the next attempts of tasks that were acknowledged when they began.
            is_ours: whether a delivery is still held, as far as is known.
        """
        self._store = store
        self._clock = clock
        self._settled = settled
        self._publish = publish
        self._is_ours = is_ours
        self._items: list[Item] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, item: Item) -> None:
        """Take an item; it is written soon."""
        self._items.append(item)
        self._idle.clear()
        self._wake.set()

    @property
    def is_busy(self) -> bool:
        """Something is to be written, or being written."""
        return not self._idle.is_set()

    async def drain(self) -> None:
        """Return when everything taken so far is written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled; cancel only after `drain`."""
        while True:
            await self._wake.wait()
            while self._items:
                items, self._items = self._items[:AT_ONCE], self._items[AT_ONCE:]
                await self._write(items)
            self._wake.clear()
            self._idle.set()

    async def _write(self, items: Sequence[Item]) -> None:
        items = [item for item in items if not self._is_anothers_to_condemn(item)]
        unstored = await self._store_all([item for item in items if item.verdict.record is not None])
        if unstored:  # no result, no ack: the task runs again, here or elsewhere
            items = [_given_back(item) if any(item is other for other in unstored) else item for item in items]
        successors = [message for item in items for message in item.verdict.publish]
        if successors:
            await self._send(successors)
        by_consumer: dict[Consumer, list[Item]] = {}
        for item in items:
            if item.verdict.action is not None:
                by_consumer.setdefault(item.consumer, []).append(item)
        for consumer, own in by_consumer.items():
            await self._settle(consumer, own)

    def _is_anothers_to_condemn(self, item: Item) -> bool:
        """Leave a death sentence on a delivery that was lost to whoever has it now: it may succeed there."""
        if not isinstance(item.verdict.action, Dead) or self._is_ours(item):
            return False
        self._settled(item, SettleReceipt.LOST)
        return True

    async def _send(self, successors: Sequence[Message]) -> None:
        """Publish; at most once is what such tasks have asked for, so what fails is only told."""
        try:
            raise_for(successors, await self._publish(successors))
        except CeleriacError as error:
            logger.error("the next attempt of a task acknowledged early is lost: %s", error)  # noqa: TRY400 - no bug of ours

    async def _store_all(self, items: Sequence[Item]) -> Sequence[Item]:
        """Store the records; return the items whose record was not stored."""
        records = [item.verdict.record for item in items if item.verdict.record is not None]
        pause = FIRST_PAUSE
        for attempt in range(1, STORE_ATTEMPTS + 1 if records else 1):
            try:
                await self._store.put(records)
            except MessageTooLarge as error:
                return await self._store_apart(items, error)
            except CeleriacError as error:
                logger.warning("cannot store %d results (attempt %d): %s", len(records), attempt, error)
                await self._clock.sleep(pause)
                pause *= 2
            else:
                return ()
        return items

    async def _store_apart(self, items: Sequence[Item], error: MessageTooLarge) -> Sequence[Item]:
        """One of several results is too large: store each by itself; that one becomes a failure that says so."""
        if len(items) > 1:
            return [unstored for item in items for unstored in await self._store_all([item])]
        record = items[0].verdict.record
        if record is not None and record.state in (states.STARTED, states.PROGRESS):
            logger.warning("cannot store that %s is %s: %s", record.task_id, record.state, error)
            return ()
        if record is None or record.body == UNSTORABLE:
            return items
        logger.error("what is stored of %s is that it cannot be stored: %s", items[0].delivery.message.id, error)
        told = _failure(record, error)
        if len(told.body) >= len(record.body):  # what it says is as long as what was too large
            told = replace(told, body=UNSTORABLE, traceback=None)
        failed = replace(items[0], verdict=replace(items[0].verdict, record=told))
        return items if await self._store_all([failed]) else ()

    async def _settle(self, consumer: Consumer, items: Sequence[Item]) -> None:
        try:
            receipts = await consumer.settle([Settlement(item.delivery.token, item.verdict.action) for item in items])  # type: ignore[arg-type]
        except ConnectionLost:
            receipts = [SettleReceipt.LOST] * len(items)
        except CeleriacError as error:
            await self._settle_apart(consumer, items, error)
            return
        for item, receipt in zip(items, receipts, strict=True):
            self._settled(item, receipt)

    async def _settle_apart(self, consumer: Consumer, items: Sequence[Item], error: CeleriacError) -> None:
        """One of several could not be written: settle each by itself, and give that one back for later.

        What can never be written would come back for ever: it is set aside.
        """
        if len(items) > 1:
            for item in items:
                await self._settle(consumer, [item])
            return
        item = items[0]
        action, name = item.verdict.action, item.delivery.message.id
        if isinstance(action, Requeue) and not action.delay:
            logger.error("cannot give back %s: %s", name, error)
            self._settled(item, SettleReceipt.LOST)
        elif item.verdict.why != UNSENDABLE and _is_hopeless(action, error):
            logger.error("%s is set aside: it cannot be sent on (%s): %s", name, item.verdict.why, error)
            await self._write([_set_aside(item, error)])
        else:
            logger.error("cannot settle %s (%s): %s; giving it back", name, item.verdict.why, error)
            at_once = isinstance(action, Requeue) or item.verdict.why == UNSENDABLE  # a delay is refused to both
            await self._settle(consumer, [_given_back(item, timedelta(0) if at_once else GIVE_BACK)])


def _is_hopeless(action: Action | None, error: CeleriacError) -> bool:
    """Return whether an action can never be written, whatever becomes of the broker."""
    if isinstance(action, Move):
        return isinstance(error, MessageTooLarge | Unsupported | ConfigurationError)
    return isinstance(action, Requeue) and isinstance(error, MessageTooLarge)


def _failure(record: ResultRecord, error: CeleriacError) -> ResultRecord:
    """Return, in the place of ``record``, the failure of a task whose result or successor is not taken."""
    data = ErrorData(type=type(error).__name__, module="celeriac.errors", args=[str(error)], message=str(error))
    return replace(
        record, state=states.FAILURE, body=data.encode(), content_type="application/json", content_encoding="utf-8"
    )


def _set_aside(item: Item, error: CeleriacError) -> Item:
    letter = DeadLetter(reason=UNSENDABLE, detail=f"{item.verdict.why}, but {error}")
    record = None if item.verdict.record is None else _failure(item.verdict.record, error)
    return replace(item, verdict=Verdict(why=UNSENDABLE, action=Dead(letter), record=record))


def _given_back(item: Item, delay: timedelta = GIVE_BACK) -> Item:
    if item.verdict.action is None:
        return item
    return replace(item, verdict=replace(item.verdict, action=Requeue(delay), record=None))
