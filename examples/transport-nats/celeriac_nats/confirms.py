"""Many publishes under way at once, each with the stream's answer.

nats-py has `publish_async` for that; of version 2.16 the answer never comes if the stream refuses the message.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac_nats.failures import mapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nats.aio.client import Client
    from nats.aio.msg import Msg

NO_RESPONDERS = "503"  # no stream listens to the subject


@dataclass(frozen=True, slots=True)
class Answer:
    """What a stream said to one message.

    Attributes:
        refused: its words, if it did not take it.
        code: JetStream's error code for that.
        nobody: there is no such stream.
    """

    refused: str | None = None
    code: int = 0
    nobody: bool = False

    @property
    def ok(self) -> bool:
        """The stream has it."""
        return self.refused is None and not self.nobody


class Confirms:
    """The answers to one connection's publishes come back by one inbox."""

    def __init__(self, nc: Client) -> None:
        """Nothing is under way."""
        self._nc = nc
        self._inbox: str | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    async def publish(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> asyncio.Future[Answer]:
        """Write a message, and return where its answer will be; cancel that to wait no longer.

        Raises:
            ConnectionLost: it was not written.
        """
        with mapped("cannot publish"):
            if self._inbox is None:
                self._inbox = self._nc.new_inbox()
                await self._nc.subscribe(f"{self._inbox}.*", cb=self._heard)
            number = str(next(self._numbers))
            answer = self._waiting[number] = asyncio.get_running_loop().create_future()
            answer.add_done_callback(lambda _answer: self._waiting.pop(number))
            try:
                await self._nc.publish(subject, payload, reply=f"{self._inbox}.{number}", headers=dict(headers))
            except BaseException:
                answer.cancel()
                raise
        return answer

    async def _heard(self, message: Msg) -> None:
        answer = self._waiting.get(message.subject.rpartition(".")[2])
        if answer is not None and not answer.done():
            answer.set_result(_read(message))


def _read(message: Msg) -> Answer:
    if message.headers and message.headers.get("Status") == NO_RESPONDERS:
        return Answer(nobody=True)
    error = json.loads(message.data).get("error")
    if error is None:
        return Answer()
    return Answer(refused=error.get("description", "refused"), code=error.get("err_code", 0))
