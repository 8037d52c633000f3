"""Revocations: a stream that every worker reads from its beginning, and then follows.

One message holds ids and until when they count, as JSON: ``{"ids": [...], "until": "2030-01-01T00:00:00+00:00"}``. A
reader publishes ``{"marker": "..."}`` of its own; once it reads that, it has read all that came before.
Streams: https://www.rabbitmq.com/docs/streams, 3.9 and later.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConnectionLost, PublishErrors, TopologyMismatch, TransportError, Unsupported
from celeriac.message import Message, Outcome
from celeriac.transport import Revocations
from celeriac_amqp.delays import LONGEST
from celeriac_amqp.signals import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

    from celeriac.clock import Clock
    from celeriac_amqp.connection import Channel, Session

logger = logging.getLogger("celeriac.amqp")

STREAM = "celeriac.revoked"
KEPT = timedelta(days=LONGEST.days + 8)
ARGUMENTS = {
    "x-queue-type": "stream",
    "x-max-age": f"{KEPT.days}D",
    "x-stream-max-segment-size-bytes": 1_000_000,  # old ids are dropped by whole segments
}
CREDIT = 500  # messages the broker sends ahead
CHUNK = 1000  # ids a message


class RevocationStream:
    """The stream, made when it is first wanted."""

    def __init__(
        self, control: Callable[[], Session], publish: Callable[[Sequence[Message]], Awaitable[None]], clock: Clock
    ) -> None:
        """Make nothing yet.

        Args:
            control: the open connection on which to read.
            publish: publishes, and raises unless all are confirmed.
            clock: by which an id no longer counts.
        """
        self._control = control
        self._publish = publish
        self._clock = clock

    async def revoke(self, ids: Sequence[str], until: datetime) -> None:
        """Remember ``ids`` until ``until``.

        Raises:
            Unsupported: the stream does not keep them so long, or the broker has no streams.
        """
        if until - self._clock.now() > KEPT:
            raise Unsupported(f"revocations are kept for {KEPT.days} days, not until {until}")
        await self._make()
        chunks = [list(ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK)]
        await self._publish([_message({"ids": chunk, "until": until.isoformat()}) for chunk in chunks])

    @asynccontextmanager
    async def revoked(self) -> AsyncIterator[Revocations]:
        """Read all that counts now, then follow."""
        await self._make()
        inbox = Inbox()
        marker = uuid.uuid4().hex
        async with self._control().scratch() as channel:
            channel.on_closed = inbox.end
            await self._consume(channel, inbox)
            await self._mark(marker)
            known: set[str] = set()
            async for body in inbox:
                entry = _parse(body)
                if entry.get("marker") == marker:
                    break
                known.update(self._valid(entry))
            following = self._follow(inbox)
            try:
                yield Revocations(frozenset(known), following)
            finally:
                await following.aclose()

    async def _mark(self, marker: str) -> None:
        """Publish a marker. One that a lost link took with it does no harm: whoever tries again sends another."""
        try:
            await self._publish([_message({"marker": marker})])
        except PublishErrors as error:
            if error.receipts[0].outcome in (Outcome.UNCONFIRMED, Outcome.NOT_SENT):
                raise ConnectionLost(str(error)) from error
            raise

    async def _follow(self, inbox: Inbox) -> AsyncGenerator[str, None]:
        async for body in inbox:
            for revoked in self._valid(_parse(body)):
                yield revoked

    def _valid(self, entry: dict[str, Any]) -> list[str]:
        """Return the ids that still count."""
        ids, until = entry.get("ids"), entry.get("until")
        if not isinstance(ids, list) or not isinstance(until, str):
            return []
        try:
            if datetime.fromisoformat(until) < self._clock.now():
                return []
        except (ValueError, TypeError) as error:
            logger.warning("a revocation with a moment that is none: %s", error)
        return [revoked for revoked in ids if isinstance(revoked, str)]

    async def _make(self) -> None:
        try:
            async with self._control().scratch() as channel:
                await channel.call("queue_declare", STREAM, durable=True, arguments=dict(ARGUMENTS))
        except TopologyMismatch as error:
            raise Unsupported(f"the broker keeps no revocations: {error}") from error
        except TransportError as error:
            if "NOT_IMPLEMENTED" in str(error):
                raise Unsupported(f"the broker keeps no revocations: {error}") from error
            raise

    async def _consume(self, channel: Channel, inbox: Inbox) -> None:
        latest = 0

        def read(_raw: object, method: Any, _properties: bytes, body: bytes) -> None:
            nonlocal latest
            inbox.put(body)
            if latest == 0:
                asyncio.get_running_loop().call_soon(acknowledge)
            latest = method.delivery_tag

        def acknowledge() -> None:
            # gives the broker its credit back; what is never acked would one day exceed its consumer_timeout
            nonlocal latest
            tag, latest = latest, 0
            if channel.error is None:
                channel.raw.basic_ack(tag, multiple=True)

        await channel.call("basic_qos", prefetch_count=CREDIT)
        await channel.call("basic_consume", STREAM, read, arguments={"x-stream-offset": "first"})


def _message(entry: dict[str, Any]) -> Message:
    return Message(
        id=uuid.uuid4().hex, routing_key=STREAM, body=json.dumps(entry).encode(), content_type="application/json"
    )


def _parse(body: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(body)
    except ValueError as error:
        logger.warning("what stands in the stream %s is no JSON: %s", STREAM, error)
        return {}
    return entry if isinstance(entry, dict) else {}
