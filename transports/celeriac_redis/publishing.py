"""Messages in: see ``scripts/publish.lua``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, MessageTooLarge, TransportError
from celeriac.message import CONFIRMED, Outcome, Receipt
from celeriac_redis import programs
from celeriac_redis.consumer import refuse_impossible, refused
from celeriac_redis.errors import OF_ANOTHER_TYPE, WRONG_TYPE, readable
from celeriac_redis.programs import message_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.clock import Clock
    from celeriac.message import Message
    from celeriac_redis.options import Options
    from celeriac_redis.scripts import Argument
    from celeriac_redis.session import Session

LARGEST = 256 * 2**20  # bytes of one body; the server takes 512 MiB as one value, and base64 needs a third more
MOST_TOGETHER = 500  # messages of one script: some 2 ms in which the server does nothing else
MOST_BYTES = 4 * 2**20


async def publish(session: Session, messages: Sequence[Message], options: Options, clock: Clock) -> Sequence[Receipt]:
    """Publish ``messages``; return one receipt each.

    Raises:
        TransportError: nothing was written.
    """
    now = clock.now()
    encoded: list[list[Argument]] = []
    for message in messages:
        if len(message.body) > LARGEST:
            raise MessageTooLarge(
                f"the body of message {message.id!r} has {len(message.body)} bytes; {LARGEST} are taken"
            )
        refuse_impossible(message, options, now)
        encoded.append(message_arguments(message, now, at_once=session.fleet and _says_when(message)))
    parts = [*_parts(encoded)]
    if len(parts) > 1:
        await _check(session, messages, encoded)
    await session.ready_out()  # what raises now has written nothing
    receipts: list[Receipt] = []
    for part in parts:
        some = messages[len(receipts) : len(receipts) + len(part)]
        try:
            receipts += await _store(session, part, some)
        except TransportError as error:
            if isinstance(error, ConnectionLost):
                receipts += [Receipt(Outcome.UNCONFIRMED, str(error))] * len(part)
            elif not receipts:
                raise
            return [*receipts, *[Receipt(Outcome.NOT_SENT, str(error))] * (len(messages) - len(receipts))]
    return receipts


def _says_when(message: Message) -> bool:
    """Whether a worker that takes ``message`` waits by its header: Celery's do, and never look at what waits with us.

    One that was sent before may carry the ``eta`` of then, and a later delay that stands nowhere in it.
    """
    return message.not_before is not None and message.headers.get("eta") == message.not_before.isoformat()


def _parts(encoded: Sequence[list[Argument]]) -> Iterator[Sequence[list[Argument]]]:
    start = size = 0
    for index, arguments in enumerate(encoded):
        length = len(str(arguments[-1]))
        if index > start and (size + length > MOST_BYTES or index - start == MOST_TOGETHER):
            yield encoded[start:index]
            start, size = index, 0
        size += length
    if start < len(encoded):
        yield encoded[start:]


async def _check(session: Session, messages: Sequence[Message], encoded: Sequence[list[Argument]]) -> None:
    """Refuse before the first of several scripts what one of them would refuse."""
    marked = [arguments[:-1] for message, arguments in zip(messages, encoded, strict=True) if message.priority]
    for start in range(0, len(marked), MOST_TOGETHER):
        some = marked[start : start + MOST_TOGETHER]
        _refuse(await session.run_out(programs.PUBLISH, "check", len(some), *(a for one in some for a in (*one, ""))))


async def _store(session: Session, part: Sequence[list[Argument]], messages: Sequence[Message]) -> Sequence[Receipt]:
    answer = await session.run_out(
        programs.PUBLISH, "store", len(part), *(argument for one in part for argument in one)
    )
    said = _refuse(answer)
    if not said:
        return [CONFIRMED] * len(part)
    return [_receipt(message, text.decode()) for message, text in zip(messages, said, strict=True)]


def _refuse(answer: Sequence[bytes]) -> Sequence[bytes]:
    verdict, *said = answer
    if verdict == b"refused":
        raise refused(said[0].decode())
    return said


def _receipt(message: Message, said: str) -> Receipt:
    if not said:
        return CONFIRMED
    if said == "exchange":
        return Receipt(Outcome.RETURNED, f"exchange {message.exchange!r} does not exist")
    if said == "queue":
        return Receipt(Outcome.RETURNED, f"no queue takes {message.routing_key!r} from exchange {message.exchange!r}")
    said = readable(said)
    return Receipt(Outcome.NACKED, f"{said}; {OF_ANOTHER_TYPE}" if WRONG_TYPE in said else said)
