"""One App's client side in one process: its connection, its publisher, and the waiting for results."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from concurrent.futures import CancelledError
from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac import states
from celeriac.control import TOPIC, Control
from celeriac.crossing import Crossing
from celeriac.deferred import Deferred
from celeriac.errors import ConnectionLost, TransportError, UnknownTask, Unsupported
from celeriac.protocol import ErrorData
from celeriac.publisher import Publisher
from celeriac.results import ResultRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from celeriac.codec import Codecs
    from celeriac.connection import Connection
    from celeriac.portal import Portal
    from celeriac.publisher import Publishes

TRY_AGAIN = 0.05
DROPPED_TOGETHER = 0.05  # seconds; to wake the loop for each one took some 25 us of a sending thread
WAITING = (states.PENDING, states.RETRY)


class Client:
    """What an App uses to send and to wait, from any thread; one a process, made anew after a fork.

    Attributes:
        pid: the process it belongs to.
        portal: the loop it lives on.
        connection: its broker and store.
        publisher: where messages are handed over.
        deferred: what was sent and is not waited for; ``None`` in a worker's child, where all is waited for.
        codecs: for results.
        origin: how this process names itself in messages.
        reply_to: this process's mailbox, for stores that send.
        successor: gives the client of the process that this is called in.
    """

    def __init__(
        self,
        connection: Connection,
        portal: Portal,
        codecs: Codecs,
        *,
        publish_timeout: float,
        publisher: Publishes | None = None,
        successor: Callable[[], Client] | None = None,
    ) -> None:
        """Open nothing.

        Args:
            connection: to be opened at the first need.
            portal: this process's.
            codecs: for results.
            publish_timeout: seconds in which a publish is answered.
            publisher: takes messages instead of the connection: inside a worker's child, the worker does.
            successor: gives the client of a process that was forked off this one.
        """
        self.pid = os.getpid()
        self.portal = portal
        self.connection = connection
        self.codecs = codecs
        own = Publisher(connection, portal.loop, publish_timeout)
        self.publisher: Publishes = publisher or own
        self.deferred = Deferred(own) if publisher is None else None
        self.origin = f"gen{self.pid}@{socket.gethostname()}"
        self.reply_to = connection.store.reply_to if publisher is None else None
        self.successor = successor or (lambda: self)
        self._publish_timeout = publish_timeout
        self._forgets = self.reply_to is not None
        self._dropped = Crossing(self._drop, after=DROPPED_TOGETHER)
        portal.at_exit(self.close)

    def known(self, task_id: str) -> ResultRecord | None:
        """Return a task's final record where it has come already; waits for nothing, not even for the portal."""
        return self.connection.store.known(task_id)

    async def look(self, task_id: str) -> ResultRecord | None:
        """Return what the store has of a task now."""
        await self.connection.ready()
        return (await self.connection.store.get([task_id]))[0]

    async def wait(self, task_id: str) -> ResultRecord:
        """Return a task's final record once there is one; goes on after a loss of the connection.

        Raises:
            UnknownTask: the store would know the id, and does not.
        """
        while True:
            try:
                record = await self.look(task_id)
                store = self.connection.store
                if record is None and self.knows_unknown:
                    raise UnknownTask(
                        f"the result store knows no task {task_id}: it was sent without a result, or has expired"
                    )
                if record is not None and record.state in states.FINAL:
                    return record
                async for final in store.wait([task_id]):
                    return final
            except ConnectionLost:
                pass
            await self.connection.clock.sleep(TRY_AGAIN)

    @property
    def knows_unknown(self) -> bool:
        """The store tells an id that it never saw from one that waits."""
        return self.connection.store.capabilities().knows_unknown

    async def revoke(self, ids: Sequence[str], *, terminate: bool, best_effort: bool) -> None:
        """See that tasks are not run: durably, and told to the workers that run now.

        Raises:
            Unsupported: the broker keeps no revocations, and ``best_effort`` is false; nothing was done.
        """
        if not ids:
            return
        await self.connection.ready()
        settings, now = self.connection.settings, self.connection.clock.now()
        told = Control(terminate=ids) if terminate else None
        try:
            await self.connection.transport.revoke(ids, now + timedelta(seconds=settings.revoke_expires))
        except Unsupported as error:
            if not best_effort:
                raise Unsupported(
                    f"{error}; best_effort=True tells the workers that run now, and no later ones"
                ) from error
            told = told or Control(revoke=ids)
        if told is not None:
            await self.connection.transport.signal(TOPIC, told.encode())
        await self._store_revoked(ids, now + timedelta(seconds=settings.result_expires))

    async def _store_revoked(self, ids: Sequence[str], expires_at: datetime) -> None:
        """Write REVOKED where a shared store has a task that does not run; of others the workers will tell."""
        store, now = self.connection.store, self.connection.clock.now()
        if not store.capabilities().shared:
            return
        error = ErrorData(type="TaskRevokedError", module="celery.exceptions", args=["revoked"], message="revoked")
        waiting = [record for record in await store.get(ids) if record is not None and record.state in WAITING]
        await store.put(
            [
                ResultRecord(
                    task_id=record.task_id,
                    attempt=record.attempt,
                    state=states.REVOKED,
                    body=error.encode(),
                    expires_at=expires_at,
                    done_at=now,
                    history=record.history,
                )
                for record in waiting
            ]
        )

    async def forget(self, ids: Sequence[str]) -> None:
        """Drop what the store has of these tasks."""
        await self.connection.ready()
        await self.connection.store.forget(ids)

    def drop(self, task_id: str) -> None:
        """Let a mailbox drop a task that nobody here holds any more; never raises, callable from a destructor."""
        if not self._forgets or self.pid != os.getpid():
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is kept any more
            self._dropped.put(task_id, self.portal.loop)

    def _drop(self, ids: Iterator[str]) -> None:
        self._forgetting = self.portal.loop.create_task(self._forget_dropped(list(ids)))

    async def _forget_dropped(self, ids: Sequence[str]) -> None:
        with contextlib.suppress(TransportError):  # what is closed or lost keeps nothing
            await self.connection.store.forget(ids)

    def close(self) -> None:
        """Answer what was handed over, within ``publish_timeout``, and close the connection. Idempotent."""
        self.portal.not_at_exit(self.close)
        self._forgets = False  # what the store still keeps for us goes with the connection
        with contextlib.suppress(TimeoutError, CancelledError, TransportError):
            self.portal.start(self._close()).result(self._publish_timeout + 1)

    async def _close(self) -> None:
        if isinstance(self.publisher, Publisher):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._publish_timeout):
                    await self.publisher.flush()
        await self.connection.close()
