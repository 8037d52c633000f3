"""Results in a stream of the namespace: one subject a task, of which the last message stands.

JetStream compares and sets: a message that says which sequence it expects to replace is refused where another one
stands. That a task was sent stands under a subject of its own, so that its first state replaces nothing and is written
without a question. What is final is told on core NATS, so that nobody who waits has to ask again and again.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import nats.js.errors
from nats.js.api import StorageType, StreamConfig

from celeriac.errors import ConnectionLost, TransportError
from celeriac.results import ResultStore, StoreCapabilities
from celeriac.states import FINAL
from celeriac_nats import records as kept_as
from celeriac_nats.address import parse
from celeriac_nats.link import Link
from celeriac_nats.names import token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from nats.aio.msg import Msg

    from celeriac.clock import Clock
    from celeriac.results import ResultRecord
    from celeriac.transport import Transport

A = TypeVar("A")
T = TypeVar("T")
logger = logging.getLogger(__name__)

EXPECTED = "Nats-Expected-Last-Subject-Sequence"
WRONG_SEQUENCE = 10071  # JetStream's error code for a message that expected another one
LOOK_AGAIN = 10.0  # seconds; a worker that died after it had stored told nobody
ANSWER_WITHIN = 10.0  # seconds
AT_ONCE = 256  # questions under way


class NatsResultStore(ResultStore):
    """``nats://``: the results of a namespace, for every process that can reach it."""

    contract = 1

    def __init__(self, urls: Sequence[str], *, clock: Clock, transport: Transport | None = None) -> None:
        """Keep the addresses; the connection is the store's own, so that results wait for no deliveries."""
        super().__init__(urls, clock=clock, transport=transport)
        self._address = parse(self.urls)
        self._stream = f"{self._address.namespace}_results"
        self._told = f"{self._address.namespace}.done"
        self._link: Link | None = None
        self._waiting: dict[str, list[asyncio.Queue[str]]] = {}
        self._listening = False

    def capabilities(self) -> StoreCapabilities:
        """Return what holds."""
        return StoreCapabilities(compare_and_set=True, shared=True, knows_unknown=True)

    async def open(self) -> None:
        """Connect, and make the stream unless it is there."""
        if self._link is not None and not self._link.ended:
            return
        link = Link(self._address, _ignore)
        await link.connect()
        self._link, self._listening = link, False
        space = self._address.namespace
        config = StreamConfig(
            name=self._stream,
            subjects=[f"{space}.result.*", f"{space}.sent.*", f"{space}.group.*.*"],
            storage=StorageType.FILE,
            num_replicas=self._address.replicas,
            max_msgs_per_subject=1,
            max_age=self._address.result_age,
            allow_direct=True,
        )
        await link.ask(link.js.add_stream(config), f"cannot make the stream {self._stream}")

    async def close(self) -> None:
        """Disconnect."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def sent(self, ids: Sequence[str]) -> None:
        """Write that they were sent; what stands of them stays."""
        await self._write(self._opened(), [(self._sent(task_id), b"", 0) for task_id in ids])

    async def put(self, records: Sequence[ResultRecord]) -> Sequence[bool]:
        """Store each record that is not refused by what stands; of one task, one after the other."""
        link, answers = self._opened(), [False] * len(records)
        todo = list(enumerate(records))
        blindly = True
        while todo:
            first = {record.task_id: index for index, record in reversed(todo)}
            turn = [(index, record) for index, record in todo if first[record.task_id] == index]
            later = [(index, record) for index, record in todo if first[record.task_id] != index]
            wanted = [(*one, 0) for one in turn] if blindly else await self._allowed(link, turn)
            conflicts = await self._put(link, wanted, answers)
            blindly, todo = False, [*conflicts, *later]
        await self._tell(link, [record.task_id for record in records if record.state in FINAL])
        return answers

    async def get(self, ids: Sequence[str]) -> Sequence[ResultRecord | None]:
        """Return what stands; where there never was anything, whether it was sent."""
        link = self._opened()
        found = await self._read(link, ids)
        silent = [task_id for task_id, (_, sequence) in zip(ids, found, strict=True) if not sequence]
        sent = {task_id for task_id, was in zip(silent, await self._were_sent(link, silent), strict=True) if was}
        return [
            kept_as.pending(task_id) if task_id in sent else record
            for task_id, (record, _) in zip(ids, found, strict=True)
        ]

    async def wait(self, ids: Sequence[str]) -> AsyncIterator[ResultRecord]:
        """Yield the final records as they come."""
        link, told, missing = self._opened(), asyncio.Queue[str](), set(ids)
        for task_id in missing:
            self._waiting.setdefault(task_id, []).append(told)
        try:
            await self._listen(link)
            asked = list(missing)
            while missing:
                for record, _ in await self._read(link, asked):
                    if record is not None and record.state in FINAL and record.task_id in missing:
                        missing.discard(record.task_id)
                        yield record
                asked = await self._next_told(link, told, missing) if missing else []
        finally:
            for task_id in set(ids):
                self._waiting[task_id].remove(told)
                if not self._waiting[task_id]:
                    del self._waiting[task_id]

    async def forget(self, ids: Sequence[str]) -> None:
        """Drop what is stored of ``ids``."""
        link = self._opened()

        async def purge(task_id: str) -> None:
            for subject in (self._sent(task_id), self._subject(task_id)):
                await link.js.purge_stream(self._stream, subject=subject)

        await link.ask(_each(purge, ids), "cannot forget results")

    async def join(self, group: str, member: str, size: int) -> bool:
        """Add ``member`` to ``group``; whoever then writes the mark that it is complete has completed it."""
        link = self._opened()
        space = f"{self._address.namespace}.group.{token(group)}"
        await self._create(link, f"{space}.m_{token(member)}")
        info = link.js.stream_info(self._stream, subjects_filter=f"{space}.*")
        subjects = (await link.ask(info, "cannot count the group")).state.subjects or {}
        if len(subjects.keys() - {f"{space}.complete"}) < size:
            return False
        return await self._create(link, f"{space}.complete")

    def _subject(self, task_id: str) -> str:
        return f"{self._address.namespace}.result.{token(task_id)}"

    def _sent(self, task_id: str) -> str:
        return f"{self._address.namespace}.sent.{token(task_id)}"

    def _opened(self) -> Link:
        if self._link is None:
            raise ConnectionLost(f"the result store {self._address.shown} is not open")
        self._link.check()
        return self._link

    async def _allowed(
        self, link: Link, turn: Sequence[tuple[int, ResultRecord]]
    ) -> list[tuple[int, ResultRecord, int]]:
        """Return those that may replace what stands, each with the sequence that it replaces."""
        stands = await self._read(link, [record.task_id for _, record in turn])
        return [
            (index, record, sequence)
            for (index, record), (known, sequence) in zip(turn, stands, strict=True)
            if not kept_as.stands_against(known, record)
        ]

    async def _put(
        self, link: Link, wanted: Sequence[tuple[int, ResultRecord, int]], answers: list[bool]
    ) -> list[tuple[int, ResultRecord]]:
        """Store records of different tasks; return those that met something else, to be judged by it."""
        now = self.clock.now()
        payloads = [kept_as.pack(kept_as.with_expiry(record, now)) for _, record, _ in wanted]
        subjects = [self._subject(record.task_id) for _, record, _ in wanted]
        sequences = [sequence for _, _, sequence in wanted]
        stored = await self._write(link, list(zip(subjects, payloads, sequences, strict=True)))
        for (index, _, _), done in zip(wanted, stored, strict=True):
            answers[index] = done
        return [(index, record) for (index, record, _), done in zip(wanted, stored, strict=True) if not done]

    async def _read(self, link: Link, ids: Sequence[str]) -> list[tuple[ResultRecord | None, int]]:
        """Return, for each id, what stands, and the sequence that would be replaced: 0 is none."""
        now = self.clock.now()

        async def read(task_id: str) -> tuple[ResultRecord | None, int]:
            try:
                kept = await link.js.get_msg(self._stream, subject=self._subject(task_id), direct=True)
            except nats.js.errors.NotFoundError:
                return None, 0
            record = kept_as.unpack(kept.data or b"")
            return (None if kept_as.has_expired(record, now) else record), kept.seq or 0

        return await link.ask(_each(read, ids), "cannot read results")

    async def _were_sent(self, link: Link, ids: Sequence[str]) -> list[bool]:
        async def look(task_id: str) -> bool:
            with suppress(nats.js.errors.NotFoundError):
                await link.js.get_msg(self._stream, subject=self._sent(task_id), direct=True)
                return True
            return False

        return await link.ask(_each(look, ids), "cannot read results")

    async def _write(self, link: Link, puts: Sequence[tuple[str, bytes, int]]) -> list[bool]:
        """Write to each subject where the sequence given stands, 0 for none; return whether it did."""

        async def write(put: tuple[str, bytes, int]) -> bool:
            subject, payload, expected = put
            async with asyncio.timeout(ANSWER_WITHIN):
                answer = await (await link.confirms.publish(subject, payload, {EXPECTED: str(expected)}))
            if not answer.ok and answer.code != WRONG_SEQUENCE:
                raise TransportError(
                    f"the stream {self._stream} did not take a result: {answer.refused or 'it is gone'}"
                )
            return answer.ok

        return await link.ask(_each(write, puts), "cannot store results")

    async def _create(self, link: Link, subject: str) -> bool:
        (created,) = await self._write(link, [(subject, b"", 0)])
        return created

    async def _tell(self, link: Link, ids: Sequence[str]) -> None:
        """Tell who waits that these are final; also when another one was first, who may have died before telling."""
        for start in range(0, len(ids), AT_ONCE):
            body = "\n".join(ids[start : start + AT_ONCE]).encode()
            await link.say(self._told, body)

    async def _listen(self, link: Link) -> None:
        if not self._listening:
            self._listening = True
            await link.ask(link.nc.subscribe(self._told, cb=self._heard), "cannot wait for results")
        await link.ask(link.nc.flush(), "cannot wait for results")  # from here on nothing is missed

    async def _heard(self, message: Msg) -> None:
        for task_id in message.data.decode().split("\n"):
            for told in self._waiting.get(task_id, ()):
                told.put_nowait(task_id)

    async def _next_told(self, link: Link, told: asyncio.Queue[str], missing: set[str]) -> list[str]:
        """Return ids of which something was told; after a long silence, all that are missing."""
        try:
            async with asyncio.timeout(LOOK_AGAIN):
                found = [await link.ask(told.get(), "waiting for results")]
        except TimeoutError:
            return list(missing)
        with suppress(asyncio.QueueEmpty):
            while True:
                found.append(told.get_nowait())
        return found


def _ignore(error: TransportError) -> None:
    """Say nothing: whoever asks next is told."""
    logger.debug("the result store's connection: %s", error)


async def _each(ask: Callable[[A], Awaitable[T]], of: Iterable[A]) -> list[T]:
    """Return all answers, in order, with a bounded number of questions under way."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(subject: A) -> T:
        async with room:
            return await ask(subject)

    return await asyncio.gather(*map(one, of))
