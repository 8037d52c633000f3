"""Asking a durable consumer for messages: one request at a time, answered whenever there is something."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import nats.errors

from celeriac_nats.failures import mapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from celeriac_nats.link import Link

WAIT = 5.0  # seconds that a request stands on the server; then we ask anew
LATE = 1.0  # seconds more after which we ask anew if not even its end was answered: the queue was made again, say


class Puller:
    """Asks one consumer of one stream; what comes is handed to ``arrived``, on the loop.

    A request for n messages is over when n have come, when the server says that it is, or when it has said nothing for
    too long. Only then is another one sent, so that no more can come than was asked for.
    """

    def __init__(
        self, link: Link, stream: str, consumer: str, arrived: Callable[[Msg], None], news: Callable[[], None]
    ) -> None:
        """Ask nothing yet; ``news`` is called when a message has come, or none will."""
        self._link = link
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._arrived = arrived
        self._subscription: Subscription | None = None
        self._expected = 0
        self._over_at = 0.0
        self._news = news

    @property
    def expected(self) -> int:
        """How many messages may still come of what was asked for."""
        return self._expected if asyncio.get_running_loop().time() < self._over_at else 0

    async def ask(self, batch: int, wait: float = WAIT) -> None:
        """Ask for up to ``batch`` messages, to come within ``wait`` seconds."""
        if self._subscription is None:
            with mapped("cannot ask for messages"):
                inbox = self._link.nc.new_inbox()
                self._subscription = await self._link.nc.subscribe(inbox, cb=self._heard, pending_bytes_limit=0)
        self._expected = batch
        self._over_at = asyncio.get_running_loop().time() + wait + LATE
        request = json.dumps({"batch": batch, "expires": int(wait * 1e9)}).encode()
        await self._link.say(self._subject, request, reply=self._subscription.subject)

    async def stop(self) -> None:
        """Take the request back; what was on its way has arrived once this returns."""
        subscription, self._subscription, self._expected = self._subscription, None, 0
        if subscription is not None:
            with suppress(nats.errors.Error, OSError, TimeoutError):
                await subscription.drain()  # type: ignore[no-untyped-call]

    async def _heard(self, message: Msg) -> None:
        if message.headers and "Status" in message.headers:  # 404, 408 or 409: this request is over
            self._expected = 0
        else:
            self._expected = max(0, self._expected - 1)
            self._arrived(message)
        self._news()
