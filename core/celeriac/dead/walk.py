"""Along the dead letters of one queue: each is taken and held, so that the next one comes, then settled or given back.

Nothing but a consumer can take one message of a queue on every broker, and what a consumer gives back may come to it
again at once. How many there are is no help: what somebody has just given back may not be counted yet.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.dead.letter import DeadMessage
from celeriac.message import Move, Settlement, SettleReceipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from celeriac.message import Action
    from celeriac.transport import Consumer

logger = logging.getLogger("celeriac.dead")

MOST = 10_000
AT_ONCE = 100
SILENCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Held:
    """A dead letter that is ours until it is settled, or the consumer's block is left."""

    letter: DeadMessage
    token: object


class Walk:
    """A walk along dead letters until none comes any more, or `MOST` have come."""

    def __init__(self, consumer: Consumer, queue: str) -> None:
        """Begin at the first.

        Args:
            consumer: of the dead-letter queue, which may hold `MOST`.
            queue: whose dead letters they are.
        """
        self._consumer = consumer
        self._queue = queue
        self._sent_back: set[str] = set()

    async def batches(self) -> AsyncIterator[Sequence[Held]]:
        """Yield those that come; what is sent back and dies again meanwhile is passed over."""
        seen = 0
        while seen < MOST:
            deliveries = await self._consumer.receive(min(AT_ONCE, MOST - seen), SILENCE_SECONDS)
            if not deliveries:
                return
            fresh = [each for each in deliveries if each.message.id not in self._sent_back]
            seen += len(fresh)
            yield [Held(DeadMessage(each.message, self._queue), each.token) for each in fresh]
        logger.warning("looked at %d dead letters of %s; there may be more behind them", seen, self._queue)

    async def settle(self, held: Sequence[Held], action: Callable[[DeadMessage], Action]) -> Sequence[DeadMessage]:
        """Settle, all together; return what was still ours.

        Raises:
            PublishError: a successor could not be published; nothing was settled.
        """
        if not held:
            return []
        settlements = [Settlement(each.token, action(each.letter)) for each in held]
        receipts = await self._consumer.settle(settlements)
        done = [each.letter for each, receipt in zip(held, receipts, strict=True) if receipt is not SettleReceipt.LOST]
        if isinstance(settlements[0].action, Move):
            self._sent_back.update(letter.id for letter in done)
        if len(done) < len(held):
            logger.warning("%d dead letters of %s were taken by somebody else", len(held) - len(done), self._queue)
        return done
