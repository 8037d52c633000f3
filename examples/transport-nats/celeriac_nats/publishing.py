"""Publishing to streams, and what the server answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import nats.js.errors

from celeriac.errors import ConnectionLost, MessageTooLarge, TransportError
from celeriac.message import CONFIRMED, Outcome, Receipt
from celeriac_nats.failures import mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nats.js.api import PubAck

    from celeriac_nats.link import Link

CONFIRM_WITHIN = 30.0  # seconds; callers have limits of their own
HEADER_ROOM = 256  # bytes, for Nats-Msg-Id and what frames it
WORST_FIRST = (Outcome.UNCONFIRMED, Outcome.NOT_SENT, Outcome.NACKED, Outcome.CONFIRMED, Outcome.RETURNED)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One payload for one subject, and the id by which the stream knows a second copy of it."""

    subject: str
    payload: bytes
    dedup: str


def refuse_large(link: Link, parcels: Sequence[Parcel]) -> None:
    """Raise where the server would not take a payload.

    Raises:
        MessageTooLarge: says what it would take.
    """
    most = link.nc.max_payload - HEADER_ROOM
    for parcel in parcels:
        if len(parcel.payload) > most:
            raise MessageTooLarge(
                f"{len(parcel.payload)} bytes are more than the {most} that this server takes; raise its max_payload"
            )


async def send(link: Link, parcels: Sequence[Parcel]) -> list[Receipt]:
    """Publish all, wait for all, and return one receipt each; they are written in their order.

    Raises:
        TransportError: nothing was written.
    """
    refuse_large(link, parcels)
    answers: list[asyncio.Future[PubAck]] = []
    try:
        for parcel in parcels:
            headers = {"Nats-Msg-Id": parcel.dedup}
            with mapped("cannot publish"):
                answers.append(await link.js.publish_async(parcel.subject, parcel.payload, headers=headers))
    except TransportError:
        if not answers:
            raise
    for answer in answers:
        answer.add_done_callback(_noticed)
    if answers:
        await _settled(link, answers)
    not_sent = [Receipt(Outcome.NOT_SENT, "the connection was lost")] * (len(parcels) - len(answers))
    return [*map(_receipt, answers), *not_sent]


def of_all(receipts: Sequence[Receipt]) -> Receipt:
    """Return the receipt of a message that went to several queues: the worst, but that a queue may be gone."""
    return min(receipts, key=lambda receipt: WORST_FIRST.index(receipt.outcome))


async def _settled(link: Link, answers: Sequence[asyncio.Future[PubAck]]) -> None:
    """Return once each answer is there, or will not come any more."""
    with suppress(ConnectionLost):  # then what has no answer yet is unconfirmed
        await link.ask(asyncio.wait(answers, timeout=CONFIRM_WITHIN), "waiting for confirms")


def _receipt(answer: asyncio.Future[PubAck]) -> Receipt:
    if not answer.done() or answer.cancelled():
        answer.cancel()
        return Receipt(Outcome.UNCONFIRMED, "the server did not answer")
    error = answer.exception()
    if error is None:
        return CONFIRMED
    if isinstance(error, nats.js.errors.NoStreamResponseError):
        return Receipt(Outcome.RETURNED, "the queue's stream is gone")
    return Receipt(Outcome.NACKED, getattr(error, "description", None) or str(error))


def _noticed(answer: asyncio.Future[PubAck]) -> None:
    """Read the exception of an answer that nobody waits for any more, lest asyncio complains."""
    if not answer.cancelled():
        answer.exception()
