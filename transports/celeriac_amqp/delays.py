"""Delays, kept by the broker: a ladder of queues whose messages expire into the next.

The ladder is the one that Celery builds (its "native delayed delivery"), under our own names. Level N, 27 down to 0,
is a topic exchange ``celeriac_delayed_N`` and a queue of that name whose messages live 2^N seconds and then go to the
exchange below. A delay of whole seconds is written as 28 binary digits in front of the routing key, highest first, a
dot after each; every level looks at its own digit: 1 is wait here, 0 is pass on. Below level 0 stands the exchange
``celeriac_delayed_due``, where each task queue is bound with exactly 28 ``*`` and its own name.

Where it differs from Celery's, a loss or a surprise was seen on RabbitMQ 3.10:

- a task queue is bound with 28 ``*``, not ``#``: with ``#.email`` a delay for ``bulk.email`` came to ``email`` too;
- the queues are quorum queues with at-least-once dead lettering and reject-publish, whatever the task queue is: plain
  dead lettering loses what finds no queue, without a word;
- a message enters at the exchange of its highest 1, not at 27;
- the key holds the target queue's name, not the message's own key, which travels in a header;
- what falls due for a queue that somebody has deleted goes to the queue ``celeriac_delayed_lost`` (as the alternate
  exchange of the last one says), and from there to its own as soon as that is declared again. It would stay in its
  level otherwise, and some thirty of them stop a level for all queues: a quorum queue dead-letters no more than that at
  a time.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, QueueNotFound, TopologyMismatch, TransportError, Unsupported
from celeriac.topology import DEFAULT_EXCHANGE
from celeriac_amqp.background import Shared
from celeriac_amqp.declaring import QUORUM
from celeriac_amqp.field_table import MAX_SHORT
from celeriac_amqp.publishing import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from celeriac.message import Message
    from celeriac.transport_helpers import RoutingTable
    from celeriac_amqp.connection import Channel, Session
    from celeriac_amqp.publishing import Publisher

logger = logging.getLogger("celeriac.amqp")

LEVELS = 28
LONGEST = timedelta(seconds=2**LEVELS - 1)
PREFIX = "celeriac_delayed_"
DELIVERY = PREFIX + "due"
AT_ONCE = 30  # below 32: of more acks at a time RabbitMQ forgets some when the channel is closed behind them
LOST = PREFIX + "lost"


def level_name(level: int) -> str:
    """Return the name of a level's exchange and queue."""
    return f"{PREFIX}{level}"


def delay_key(seconds: int, queue: str) -> str:
    """Return the routing key of a message that is to reach ``queue`` after ``seconds``."""
    return ".".join(f"{seconds:0{LEVELS}b}") + "." + _word(queue)


def entry(seconds: int) -> str:
    """Return the exchange where a delay of ``seconds``, 1 or more, begins."""
    return level_name(seconds.bit_length() - 1)


def seconds_until(moment: datetime, now: datetime) -> int:
    """Return how many whole seconds to wait, so that it is never early; 0 for a moment that has passed."""
    return max(0, math.ceil((moment - now).total_seconds()))


def binding_key(queue: str) -> str:
    """Return the key that binds ``queue`` to the exchange below the ladder."""
    return "*." * LEVELS + _word(queue)


def _word(queue: str) -> str:
    # a name may hold the two characters that are patterns in a binding
    word = queue.replace("%", "%25").replace("*", "%2A").replace("#", "%23")
    if len(word.encode()) + 2 * LEVELS > MAX_SHORT:
        raise Unsupported(f"queue {queue[:40]!r}... has too long a name for delays; 199 bytes can be delayed")
    return word


class Delays:
    """The ladder, made when a delay is first asked for, and the queues that are bound below it."""

    def __init__(self, routes: RoutingTable, control: Callable[[], Session], publisher: Publisher) -> None:
        """Make nothing yet.

        Args:
            routes: what was declared from here; delays are resolved to queues when they are sent.
            control: the open connection on which to declare.
            publisher: sends what had lost its queue.
        """
        self._routes = routes
        self._control = control
        self._publisher = publisher
        self._making = asyncio.Lock()
        self._steps = Shared()
        self._made = False
        self._bound: set[str] = set()
        self._sending: asyncio.Task[None] | None = None

    def queues_of(self, message: Message) -> list[str] | None:
        """Return the queues that ``message`` is for, ``None`` if its exchange was not declared from here."""
        if message.exchange == DEFAULT_EXCHANGE:
            return [message.routing_key]
        if message.exchange not in self._routes.exchanges:
            return None
        return self._routes.route(message.exchange, message.routing_key)

    async def ready(self, queue: str) -> bool:
        """Make the ladder, and bind ``queue`` below it; ``False`` if there is no such queue.

        Raises:
            Unsupported: this broker has no at-least-once dead lettering.
        """
        if queue in self._bound and self._made:
            return True
        return await self._steps.do(queue, partial(self._bind, queue))

    async def _bind(self, queue: str) -> bool:
        async with self._making:
            if not self._made:
                await self._make()
                self._made = True
            try:
                async with self._control().scratch() as channel:
                    await channel.call("queue_bind", queue, DELIVERY, binding_key(queue))
            except QueueNotFound:
                return False
            self._bound.add(queue)
            return True

    async def welcome(self, queues: Iterable[str]) -> None:
        """Bind queues that were declared, perhaps again after somebody had deleted them, and send what waits for them.

        That delays cannot be had here is no reason not to declare a queue: whoever needs one is told. What waits is
        sent in the background: it may be a long line of others' messages.
        """
        try:
            async with self._making, self._control().scratch() as channel:
                waiting = await self._make_end(channel)
                for queue in queues:
                    with suppress(Unsupported):  # a name that is too long
                        await channel.call("queue_bind", queue, DELIVERY, binding_key(queue))
                        self._bound.add(queue)
        except ConnectionLost:
            raise
        except TransportError as error:
            logger.info("delayed messages may not find their queues: %s", error)
        else:
            if waiting and (self._sending is None or self._sending.done()):
                self._sending = asyncio.get_running_loop().create_task(self._send_lost(waiting))

    async def close(self) -> None:
        """Leave what has lost its queue where it is."""
        await self._steps.stop()
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_lost(self, waiting: int) -> None:
        """Send on what had no queue when it fell due, in the background, as long as some of it finds one now.

        What still has none goes to the end of the line it came from, so that the next time begins with others.
        """
        try:
            async with self._control().scratch() as channel:
                while await self._send_some(channel, min(AT_ONCE, waiting)):
                    answer = await channel.call("queue_declare", LOST, passive=True)
                    before, waiting = waiting, int(answer.method.message_count)
                    if not 0 < waiting < before:
                        return
        except TransportError as error:
            logger.info("delayed messages wait on in %s: %s", LOST, error)

    async def _send_some(self, channel: Channel, count: int) -> bool:
        """Send on ``count`` of them; ``False`` if none were found, or they go back with the channel."""
        taken = [await channel.get(LOST) for _ in range(count)]
        found = [each for each in taken if each is not None]
        if not found:
            return False
        self._publisher.trust((DELIVERY,))
        again = [
            Outgoing(index, "", DELIVERY, method.routing_key, body, properties, mandatory=True)
            for index, (method, properties, body) in enumerate(found)
        ]
        receipts = await self._publisher.publish(again, len(again))
        if channel.error is not None or not all(receipt.ok for receipt in receipts):
            return False
        channel.raw.basic_ack(found[-1][0].delivery_tag, multiple=True)
        return True

    def forget(self, queue: str) -> None:
        """Take ``queue`` as not bound."""
        self._bound.discard(queue)

    def forget_all(self) -> None:
        """Take nothing as made: the connection is another."""
        self._made = False
        self._bound.clear()

    async def _make(self) -> None:
        try:
            async with self._control().scratch() as channel:
                await self._make_end(channel)
                for level in range(LEVELS):
                    await self._make_level(channel, level)
        except TopologyMismatch as error:
            raise Unsupported(f"the broker cannot keep delays: {error}") from error
        except TransportError as error:
            if "NOT_IMPLEMENTED" in str(error):
                raise Unsupported(f"the broker cannot keep delays: {error}") from error
            raise

    async def _make_end(self, channel: Channel) -> int:
        """Make what stands below the ladder; return how many messages have lost their queue."""
        await channel.call("exchange_declare", LOST, "fanout", durable=True)
        answer = await channel.call("queue_declare", LOST, durable=True, arguments=dict(QUORUM))
        await channel.call("queue_bind", LOST, LOST)
        await channel.call("exchange_declare", DELIVERY, "topic", durable=True, arguments={"alternate-exchange": LOST})
        return int(answer.method.message_count)

    async def _make_level(self, channel: Channel, level: int) -> None:
        name = level_name(level)
        below = level_name(level - 1) if level else DELIVERY
        arguments = {
            "x-queue-type": "quorum",
            "x-overflow": "reject-publish",
            "x-message-ttl": 1000 * 2**level,
            "x-dead-letter-exchange": below,
            "x-dead-letter-strategy": "at-least-once",
        }
        passed = "*." * (LEVELS - 1 - level)
        await channel.call("exchange_declare", name, "topic", durable=True)
        await channel.call("queue_declare", name, durable=True, arguments=arguments)
        await channel.call("queue_bind", name, name, passed + "1.#")
        await channel.call("exchange_bind", below, name, passed + "0.#")
