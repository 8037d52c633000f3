"""The dead letters of some queues: to look at, to send back, to drop."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.dead.letter import DeadMessage
from celeriac.dead.walk import MOST, Walk
from celeriac.errors import ConfigurationError, DeadLetterNotFound, PublishError, QueueNotFound
from celeriac.message import ACK, Move
from celeriac.topology import DEAD_SUFFIX, Queue, Topology, dead_queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence

    from celeriac.app import App
    from celeriac.dead.walk import Held
    from celeriac.transport import Transport

    Settles = Callable[[Walk, Sequence[Held]], Awaitable[Sequence[DeadMessage]]]

T = TypeVar("T")

LOOKED_AT = 100


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which dead letters are meant: those of some ids, else those of a task, else all; and how many at most."""

    ids: frozenset[str]
    task: str | None
    limit: int | None

    @classmethod
    def of(cls, ids: str | Iterable[str], task: str | None, limit: int | None, *, everything: bool) -> _Choice:
        """Return the choice.

        Raises:
            ConfigurationError: nothing was chosen, or in two ways, or a limit that cannot work.
        """
        wanted = frozenset([ids] if isinstance(ids, str) else ids)
        if [bool(wanted), task is not None, everything].count(True) != 1:
            raise ConfigurationError("choose dead letters by their ids, or by task=, or everything=True")
        if limit is not None and (limit < 1 or wanted):
            raise ConfigurationError(f"limit={limit} cannot work: it is 1 or more, and ids have none")
        return cls(wanted, task, limit)

    def among(self, held: Sequence[Held], so_far: int) -> Sequence[Held]:
        """Return those that are meant, ``so_far`` having been taken already."""
        meant = [each for each in held if self.task is None or each.letter.task == self.task]
        return meant if self.limit is None else meant[: self.limit - so_far]


class DeadLetters:
    """The dead letters of some queues of an App. Callable from any thread; the forms with ``a`` are for coroutines.

    Dead letters are chosen by ``ids`` (all of them or none), by ``task``, or with ``everything=True``; with ``limit``
    at most so many are taken. What is not chosen stays where it was, marked as redelivered. At most 10,000 dead letters
    a queue are looked at.

    Attributes:
        queues: the queues' names.
    """

    def __init__(self, app: App, queues: Iterable[str] | None = None) -> None:
        """Look at nothing yet.

        Args:
            app: whose broker is asked, and whose result store forgets the failure of what is sent back.
            queues: names of queues, not of their dead-letter queues; by default all that the App declares.
        """
        self._app = app
        self.queues = tuple(dict.fromkeys(queues or (queue.name for queue in app.queues)))

    def peek(self, *, limit: int = LOOKED_AT) -> Sequence[DeadMessage]:
        """Return up to ``limit`` dead letters a queue, the next one first, leaving them where they are.

        Raises:
            Unsupported: the broker cannot show messages without taking them.
        """
        return self._app.client.portal.run(self._peek(limit))

    async def apeek(self, *, limit: int = LOOKED_AT) -> Sequence[DeadMessage]:
        """Look from a coroutine; as `peek`."""
        return await self._away(self._peek(limit))

    def replay(
        self,
        ids: str | Iterable[str] = (),
        *,
        task: str | None = None,
        everything: bool = False,
        limit: int | None = None,
    ) -> Sequence[DeadMessage]:
        """Send dead letters back to the queues they came from; return them.

        Each is moved: in one transaction where the broker can; elsewhere a process that dies in between leaves a
        duplicate, never a loss. What dies again meanwhile is left for the next time.

        Raises:
            DeadLetterNotFound: one of ``ids`` is not there; nothing was done.
            PublishError: a queue is gone or does not take them; they stay dead letters.
            ConfigurationError: nothing was chosen, or in two ways.
        """
        return self._app.client.portal.run(self._replay(_Choice.of(ids, task, limit, everything=everything)))

    async def areplay(
        self,
        ids: str | Iterable[str] = (),
        *,
        task: str | None = None,
        everything: bool = False,
        limit: int | None = None,
    ) -> Sequence[DeadMessage]:
        """Send back from a coroutine; as `replay`."""
        return await self._away(self._replay(_Choice.of(ids, task, limit, everything=everything)))

    def purge(
        self,
        ids: str | Iterable[str] = (),
        *,
        task: str | None = None,
        everything: bool = False,
        limit: int | None = None,
    ) -> int:
        """Drop dead letters for good; return how many.

        Raises:
            DeadLetterNotFound: one of ``ids`` is not there; nothing was done.
            ConfigurationError: nothing was chosen, or in two ways.
        """
        return self._app.client.portal.run(self._purge(_Choice.of(ids, task, limit, everything=everything)))

    async def apurge(
        self,
        ids: str | Iterable[str] = (),
        *,
        task: str | None = None,
        everything: bool = False,
        limit: int | None = None,
    ) -> int:
        """Drop from a coroutine; as `purge`."""
        return await self._away(self._purge(_Choice.of(ids, task, limit, everything=everything)))

    async def _away(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(self._app.client.portal.start(coroutine))

    async def _peek(self, limit: int) -> Sequence[DeadMessage]:
        transport = await self._transport()
        found: list[DeadMessage] = []
        for queue in self.queues:
            with contextlib.suppress(QueueNotFound):  # nothing has died there
                found += (DeadMessage(message, queue) for message in await transport.peek(queue + DEAD_SUFFIX, limit))
        return found

    async def _replay(self, choice: _Choice) -> Sequence[DeadMessage]:
        return await self._settle(await self._transport(), choice, self._send_back)

    async def _send_back(self, walk: Walk, held: Sequence[Held]) -> Sequence[DeadMessage]:
        """Move them, their stored failures forgotten first: a worker takes what has failed for good as a duplicate."""
        now, store = self._app.clock.now(), self._app.client.connection.store
        await store.forget([each.letter.id for each in held])
        wanted = [each.letter.id for each in held if each.letter.wants_result]
        if store.capabilities().knows_unknown and wanted:
            await store.sent(wanted)
        try:
            return await walk.settle(held, lambda letter: Move((letter.sent_back(now),)))
        except PublishError as error:
            queues = ", ".join(sorted({each.letter.origin for each in held}))
            raise PublishError(f"dead letters cannot go back to {queues}, and stay where they are: {error}") from error

    async def _purge(self, choice: _Choice) -> int:
        transport = await self._transport()
        if choice != _Choice(frozenset(), None, None):
            return len(await self._settle(transport, choice, _drop))
        dropped = 0
        for queue in self.queues:
            with contextlib.suppress(QueueNotFound):
                dropped += await transport.purge(queue + DEAD_SUFFIX)
        return dropped

    async def _transport(self) -> Transport:
        """Return the transport once it is open, told how many priorities the dead-letter queues keep."""
        connection = self._app.client.connection
        await connection.ready()
        known = {queue.name: queue for queue in self._app.queues}
        queues = [dead_queue(known.get(name) or Queue(name)) for name in self.queues]
        await connection.transport.declare(Topology(queues=queues, mode="never"))
        return connection.transport

    async def _settle(self, transport: Transport, choice: _Choice, settle: Settles) -> Sequence[DeadMessage]:
        async with AsyncExitStack() as blocks:  # leaving them gives back what was not chosen
            walks = self._walks(transport, blocks)
            if choice.ids:
                found = await self._find(walks, choice.ids)
                return [letter for walk, held in found for letter in await settle(walk, held)]
            done: list[DeadMessage] = []
            async for walk in walks:
                async for held in walk.batches():
                    chosen = choice.among(held, len(done))
                    done += await settle(walk, chosen) if chosen else ()
                    if len(done) == choice.limit:
                        return done
            return done

    async def _find(self, walks: AsyncIterator[Walk], ids: frozenset[str]) -> Sequence[tuple[Walk, Sequence[Held]]]:
        """Hold the letters of all ``ids``.

        Raises:
            DeadLetterNotFound: one is not there.
        """
        found: list[tuple[Walk, Sequence[Held]]] = []
        missing = set(ids)
        async for walk in walks:
            async for batch in walk.batches():
                held = {each.letter.id: each for each in batch if each.letter.id in missing}
                if held:
                    found.append((walk, [*held.values()]))
                    missing -= held.keys()
                if not missing:
                    return found
        queues = ", ".join(queue + DEAD_SUFFIX for queue in self.queues)
        raise DeadLetterNotFound(f"no dead letter {', '.join(sorted(missing))} in {queues}; nothing was done")

    async def _walks(self, transport: Transport, blocks: AsyncExitStack) -> AsyncIterator[Walk]:
        """Yield a walk along each queue that has dead letters, its consumer's block to be left with ``blocks``."""
        for queue in self.queues:
            with contextlib.suppress(QueueNotFound):  # nothing has died there
                consuming = transport.consume([queue + DEAD_SUFFIX], prefetch=MOST)
                yield Walk(await blocks.enter_async_context(consuming), queue)


async def _drop(walk: Walk, held: Sequence[Held]) -> Sequence[DeadMessage]:
    return await walk.settle(held, lambda _: ACK)
