"""The result-store port on Redis, in the layout of Celery's result backend: either reads what the other has written.

A result is the value of ``celery-task-meta-<id>``, and is published on the channel of that name when it is written:
Celery's clients wait for the message, not for the key. Layout of Celery 5.7, ``celery/backends/redis.py``.
"""

from __future__ import annotations

import logging
import uuid
from functools import partial
from typing import TYPE_CHECKING

from celeriac.errors import ConnectionLost, TransportError
from celeriac.results import ResultRecord, ResultStore, StoreCapabilities
from celeriac.states import FINAL, PENDING
from celeriac_redis.address import parse_all
from celeriac_redis.clients import find
from celeriac_redis.errors import KeyOfAnotherType
from celeriac_redis.results.link import Link
from celeriac_redis.results.listener import Listener
from celeriac_redis.results.records import MANY, MILLISECOND, WAITING_KEPT, Keys, entry, portions, record_of
from celeriac_redis.scripts import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from celeriac.clock import Clock
    from celeriac.transport import Transport

logger = logging.getLogger("celeriac.redis")

OF_ANOTHER_TYPE = -1  # what a script answers for a key that is no string
PUT, GET, FORGET, JOIN = Script("put"), Script("get"), Script("forget"), Script("join")


class RedisStore(ResultStore):
    """``redis://host/0?prefix=shop``. A final state is kept for a day, any other for 30 days.

    One connection for commands, and one on which everyone who waits is told, opened for the first who does.

    A task that is sent is written as PENDING, so that an id that nobody sent is told apart; Celery's clients read that
    as what they take a missing key for. With ``?fleet=celery`` it is not written, and no id is called unknown: a Celery
    client that shares the store writes nothing when it sends, and its tasks are not unknown.
    """

    def __init__(self, urls: Sequence[str], *, clock: Clock, transport: Transport | None = None) -> None:
        """Keep the addresses."""
        super().__init__(urls, clock=clock, transport=transport)
        self._addresses = parse_all(self.urls)
        options = self._addresses[0].options
        self._knows_unknown = options.fleet is None
        self._keys = Keys(options.result_prefix)
        self._link: Link | None = None
        self._listener: Listener | None = None

    def capabilities(self) -> StoreCapabilities:
        """Return what holds: everything, but among Celery's clients."""
        return StoreCapabilities(compare_and_set=True, shared=True, knows_unknown=self._knows_unknown)

    async def open(self) -> None:
        """Find the server, and see that it is fit."""
        if self._link is None:
            link = Link(self._addresses)
            await link.open()
            self._link, self._listener = link, Listener(partial(find, self._addresses))

    async def close(self) -> None:
        """Close the connections."""
        link, self._link = self._link, None
        listener, self._listener = self._listener, None
        for opened in (listener, link):
            try:
                if opened is not None:
                    await opened.close()
            except Exception as error:  # noqa: BLE001 - closing never raises
                logger.warning("while closing the result store %s: %s", self._addresses[0], error)

    async def sent(self, ids: Sequence[str]) -> None:
        """Write PENDING, where nothing stands yet."""
        if self._knows_unknown:
            await self._put([ResultRecord(task_id=one, attempt=0, state=PENDING) for one in ids], again=True)
        else:
            self._opened()

    async def put(self, records: Sequence[ResultRecord]) -> Sequence[bool]:
        """Store states, and tell who waits."""
        return await self._put(records)

    async def get(self, ids: Sequence[str]) -> Sequence[ResultRecord | None]:
        """Return what stands."""
        link = self._opened()
        found: dict[str, ResultRecord | None] = {}
        wanted = [*dict.fromkeys(ids)]
        for start in range(0, len(wanted), MANY):
            some = wanted[start : start + MANY]
            keys = [self._keys.task(one) for one in some]
            answers = await link.run_again(GET, keys, ())
            now = self.clock.now()
            for one, key, value, kept in zip(some, keys, answers[::2], answers[1::2], strict=True):
                if value == OF_ANOTHER_TYPE:
                    raise self._foreign([key])
                found[one] = None if value is None else record_of(value, kept, now, key)
        return [found[one] for one in ids]

    async def wait(self, ids: Sequence[str]) -> AsyncIterator[ResultRecord]:
        """Yield the final records as they come: those that stand, then each as it is told."""
        self._opened()
        missing = {self._keys.task(one): one for one in ids}
        if not missing or self._listener is None:
            return
        listener = self._listener
        watch = await listener.enter(missing.keys())
        try:
            news: tuple[bytes, bytes] | None = None
            while True:
                if news is None:  # at first, and whenever the connection was another one meanwhile
                    for record in await self.get([*missing.values()]):
                        if record is not None and record.state in FINAL:
                            del missing[self._keys.task(record.task_id)]
                            yield record
                elif (record := self._told(*news)) is not None and missing.pop(news[0], None) is not None:
                    yield record
                if not missing:
                    return
                news = await watch.next()
        finally:
            listener.leave(watch)

    async def forget(self, ids: Sequence[str]) -> None:
        """Drop what is stored of ``ids``."""
        link = self._opened()
        for start in range(0, len(ids), MANY):
            await link.run_again(FORGET, [self._keys.task(one) for one in ids[start : start + MANY]], ())

    async def join(self, group: str, member: str, size: int) -> bool:
        """Add ``member`` to ``group``, which is forgotten 30 days after its last one."""
        call = uuid.uuid4().hex
        arguments = (member, size, call, WAITING_KEPT // MILLISECOND)
        keys = self._keys.group(group)
        return bool(await self._opened().run_again(JOIN, keys, arguments))

    async def _put(self, records: Sequence[ResultRecord], *, again: bool = False) -> list[bool]:
        link, now = self._opened(), self.clock.now()
        run = link.run_again if again else link.run
        answers: list[int] = []
        entries = [entry(self._keys, record, now) for record in records]
        for some in portions(entries):
            keys = [each.key for each in some]
            arguments = [part for each in some for part in (each.value, each.state, each.attempt, each.kept)]
            answers += await run(PUT, keys, arguments)
        foreign = [each.key for each, answer in zip(entries, answers, strict=True) if answer == OF_ANOTHER_TYPE]
        if foreign:
            raise self._foreign(foreign)
        return [answer == 1 for answer in answers]

    def _told(self, channel: bytes, value: bytes) -> ResultRecord | None:
        """Return the final record that was published, or nothing."""
        try:
            record = record_of(value, None, self.clock.now(), channel)
        except TransportError as error:
            logger.warning("what was published is passed by: %s", error)
            return None
        return record if record.state in FINAL and self._keys.task(record.task_id) == channel else None

    def _foreign(self, keys: Sequence[bytes]) -> KeyOfAnotherType:
        names = ", ".join(repr(key.decode(errors="replace")) for key in keys[:3])
        return KeyOfAnotherType(
            f"{self._addresses[0]}: {len(keys)} of our keys are somebody else's, and no strings: {names}; rename or "
            "remove them, or give our keys a prefix of their own (?prefix=)"
        )

    def _opened(self) -> Link:
        if self._link is None:
            raise ConnectionLost(f"the result store {self._addresses[0]} is not open")
        return self._link
