"""Publishing to streams, and what the server answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, MessageTooLarge, TransportError
from celeriac.message import CONFIRMED, Outcome, Receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac_nats.confirms import Answer
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
    answers: list[asyncio.Future[Answer]] = []
    try:
        for parcel in parcels:
            headers = {"Nats-Msg-Id": parcel.dedup}
            answers.append(await link.confirms.publish(parcel.subject, parcel.payload, headers))
    except TransportError:
        if not answers:
            raise
    if answers:
        with suppress(ConnectionLost):  # then what has no answer yet is unconfirmed
            await link.ask(asyncio.wait(answers, timeout=CONFIRM_WITHIN), "waiting for confirms")
    not_sent = [Receipt(Outcome.NOT_SENT, "the connection was lost")] * (len(parcels) - len(answers))
    return [*map(_receipt, answers), *not_sent]


def of_all(receipts: Sequence[Receipt]) -> Receipt:
    """Return the receipt of a message that went to several queues: the worst, but that a queue may be gone."""
    return min(receipts, key=lambda receipt: WORST_FIRST.index(receipt.outcome))


def _receipt(answering: asyncio.Future[Answer]) -> Receipt:
    if not answering.done():
        answering.cancel()
        return Receipt(Outcome.UNCONFIRMED, "the server did not answer")
    answer = answering.result()
    if answer.nobody:
        return Receipt(Outcome.RETURNED, "the queue's stream is gone")
    return CONFIRMED if answer.refused is None else Receipt(Outcome.NACKED, answer.refused)
