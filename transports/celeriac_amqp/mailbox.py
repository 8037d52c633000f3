"""The reply mailbox: results sent to whoever sent the task, over the broker, in Celery's form.

A caller's mailbox is a durable queue of its process, named when the store is constructed, made at the first task whose
result is wanted, deleted at close. It outlives a lost connection by five minutes, so that results which come while the
caller reconnects are there when it is back. It is a classic queue, which is the faster, where the transport has one
address; where it has several it is a quorum queue: RabbitMQ refuses a classic one as long as its node is down, and the
caller could not go on at another. A worker publishes each result to that queue, and
not mandatory: a mailbox that is not there means that the caller is gone.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celeriac.errors import (
    CodecError,
    ConfigurationError,
    ConnectionLost,
    NoResultStore,
    PublishUnconfirmed,
    TransportError,
    Unsupported,
)
from celeriac.message import Message
from celeriac.protocol import parse_result_meta, result_meta
from celeriac.results import ResultStore, StoreCapabilities
from celeriac.states import FINAL
from celeriac.transport_helpers import url_options
from celeriac_amqp.address import OPTIONS
from celeriac_amqp.declaring import CLASSIC, QUORUM
from celeriac_amqp.field_table import MAX_SHORT
from celeriac_amqp.transport import AmqpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from celeriac.clock import Clock
    from celeriac.results import ResultRecord
    from celeriac.transport import Transport
    from celeriac_amqp.connection import Channel

logger = logging.getLogger("celeriac.amqp")

EXPIRES = {"x-expires": 300_000}
PREFETCH = 1000
ACK_AT_LEAST = PREFETCH // 4
ACK_SECONDS = 0.05  # until a few are acknowledged together: an ack of its own would hold up each reply's caller


class AmqpMailbox(ResultStore):
    """See the module. It knows the results of tasks sent through it, from `sent` until `forget`, and no others.

    Its connections are those of the process's `AmqpTransport`.
    """

    def __init__(self, urls: Sequence[str], *, clock: Clock, transport: Transport | None = None) -> None:
        """Name the mailbox.

        Args:
            urls: as the transport's, or ``rpc://``, Celery's name for it; read only for options that nobody knows.
            clock: unused; the broker keeps the time.
            transport: the process's.

        Raises:
            ConfigurationError: there is no AMQP transport to send through.
        """
        super().__init__(urls, clock=clock, transport=transport)
        for url in urls:
            url_options(url, OPTIONS)
        if not isinstance(transport, AmqpTransport):
            raise ConfigurationError(
                "results by mailbox need an AMQP broker (amqp://...); with another one, name a result store by backend="
            )
        self.reply_to = f"celeriac.reply.{uuid.uuid4().hex}"
        self._broker = transport
        self._arguments = {**(QUORUM if len(transport.nodes) > 1 else CLASSIC), **EXPIRES}
        self._records: dict[str, ResultRecord | None] = {}
        self._waiting: dict[str, list[_Waiter]] = {}
        self._channel: Channel | None = None
        self._making = asyncio.Lock()
        self._wanted = False
        self._opened = False
        self._latest_tag = self._acked_tag = 0
        self._ack_timer: asyncio.TimerHandle | None = None

    def capabilities(self) -> StoreCapabilities:
        """Return that it can do nothing but carry results."""
        return StoreCapabilities()

    # -- life

    async def open(self) -> None:
        """Take up the mailbox again after a loss, if there was one."""
        self._broker.control()
        self._opened = True
        if self._wanted:
            await self._consume()

    async def close(self) -> None:
        """Delete the mailbox."""
        self._opened = False
        self._drop_ack_timer()
        channel, self._channel = self._channel, None
        wanted, self._wanted = self._wanted, False
        self._records.clear()
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.end(ConnectionLost("the mailbox was closed"))
        self._waiting.clear()
        if channel is not None:
            await channel.close()
        if wanted:
            with suppress(TransportError):
                async with self._broker.control().scratch() as scratch:
                    await scratch.call("queue_delete", self.reply_to)

    def _require_open(self) -> None:
        if not self._opened:
            raise ConnectionLost("the mailbox is not open")

    async def _consume(self) -> None:
        async with self._making:
            if self._channel is not None and self._channel.error is None:
                return
            channel = await self._broker.control().channel()
            await channel.call("queue_declare", self.reply_to, durable=True, arguments=dict(self._arguments))
            await channel.call("basic_qos", prefetch_count=PREFETCH)
            self._drop_ack_timer()
            self._latest_tag = self._acked_tag = 0
            await channel.call("basic_consume", self.reply_to, self._on_message)
            self._channel = channel
            self._wanted = True

    # -- the worker's side

    async def put(self, records: Sequence[ResultRecord]) -> Sequence[bool]:
        """Send each record to its caller; one that no caller asked for, or can be waiting for, is dropped.

        Raises:
            PublishUnconfirmed: one may not have been sent.
        """
        self._require_open()
        replies = [_reply(record) for record in records if record.reply_to and _can_travel(record)]
        for reply in replies:
            self._broker.refuse_large(reply)
        receipts = await self._broker.publish_unchecked(replies)
        failed = [receipt for receipt in receipts if not receipt.ok]
        if failed:
            raise PublishUnconfirmed(
                f"{len(failed)} of {len(replies)} results were not confirmed; the first: {failed[0]}"
            )
        return [True] * len(records)

    # -- the caller's side

    async def sent(self, ids: Sequence[str]) -> None:
        """Expect results for ``ids``; make the mailbox at the first."""
        self._require_open()
        for task_id in ids:
            self._records.setdefault(task_id, None)
        if self._channel is None or self._channel.error is not None:
            await self._consume()

    def known(self, task_id: str) -> ResultRecord | None:
        """Return the final record, if it has come."""
        record = self._records.get(task_id)
        return record if record is not None and record.state in FINAL else None

    async def get(self, ids: Sequence[str]) -> Sequence[ResultRecord | None]:
        """Return what has come for ``ids``.

        Raises:
            NoResultStore: one was not sent from here.
        """
        self._refuse_unknown(ids)
        return [self._records[task_id] for task_id in ids]

    async def wait(self, ids: Sequence[str]) -> AsyncIterator[ResultRecord]:
        """Yield the final record of each of ``ids`` as it comes.

        Raises:
            NoResultStore: one was not sent from here.
        """
        self._refuse_unknown(ids)
        missing = set(ids)
        waiter = _Waiter()
        for task_id in missing:
            self._waiting.setdefault(task_id, []).append(waiter)
            waiter.offer(self._records[task_id])
        try:
            while missing:
                record = await waiter.next()
                if record.task_id in missing:
                    missing.discard(record.task_id)
                    yield record
        finally:
            self._leave(waiter, ids)

    async def forget(self, ids: Sequence[str]) -> None:
        """Expect nothing more for ``ids``."""
        self._require_open()
        for task_id in ids:
            self._records.pop(task_id, None)

    async def join(self, group: str, member: str, size: int) -> bool:
        """Refuse: a mailbox has no place that workers share."""
        raise Unsupported(
            f"{member!r} cannot join the group {group!r} of {size} by mailbox; name a result store that workers share "
            "by backend="
        )

    def _refuse_unknown(self, ids: Iterable[str]) -> None:
        self._require_open()
        for task_id in ids:
            if task_id not in self._records:
                raise NoResultStore(
                    f"the result of {task_id!r} goes to the mailbox of the process that sent it, not of this one;\n"
                    "to read it from elsewhere, name a result store that both share:\n"
                    "App(..., backend='sqlite:///results.db')"
                )

    def _leave(self, waiter: _Waiter, ids: Iterable[str]) -> None:
        for task_id in set(ids):
            waiters = self._waiting.get(task_id, [])
            if waiter in waiters:
                waiters.remove(waiter)
            if not waiters:
                self._waiting.pop(task_id, None)

    def _on_message(self, raw: Any, method: Any, _properties: bytes, body: bytes) -> None:
        self._latest_tag = method.delivery_tag
        if self._latest_tag - self._acked_tag >= ACK_AT_LEAST:
            self._acknowledge(raw)
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(ACK_SECONDS, self._acknowledge, raw)
        try:
            record = parse_result_meta(body)
        except CodecError as error:
            logger.warning("a message in the mailbox is no result: %s", error)
            return
        if record.task_id not in self._records:
            return  # nobody has a handle on it any more
        earlier = self._records[record.task_id]
        if earlier is None or earlier.state not in FINAL:
            self._records[record.task_id] = record
            for waiter in self._waiting.get(record.task_id, ()):
                waiter.offer(record)

    def _acknowledge(self, raw: Any) -> None:
        """Acknowledge all that came; what is not, comes again after a loss, and is told by its id."""
        self._drop_ack_timer()
        if raw.is_open and self._latest_tag > self._acked_tag:
            self._acked_tag = self._latest_tag
            raw.basic_ack(self._acked_tag, multiple=True)

    def _drop_ack_timer(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None


class _Waiter:
    """One `AmqpMailbox.wait`: the final records that have come for it."""

    def __init__(self) -> None:
        self._records: deque[ResultRecord] = deque()
        self._error: TransportError | None = None
        self._arrived = asyncio.Event()

    def offer(self, record: ResultRecord | None) -> None:
        if record is not None and record.state in FINAL:
            self._records.append(record)
            self._arrived.set()

    def end(self, error: TransportError) -> None:
        self._error = error
        self._arrived.set()

    async def next(self) -> ResultRecord:
        while not self._records:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        return self._records.popleft()


def _can_travel(record: ResultRecord) -> bool:
    """Return whether AMQP can carry the id and the address; a caller that gave others cannot hear of the result."""
    texts = (record.task_id, record.reply_to or "")
    if all(len(text.encode(errors="replace")) <= MAX_SHORT for text in texts):
        return True
    logger.warning("the result of %.40s... has no way back: its id or reply address exceeds 255 bytes", record.task_id)
    return False


def _reply(record: ResultRecord) -> Message:
    return Message(
        id="",
        routing_key=record.reply_to or "",
        body=result_meta(record),
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=record.task_id,
        mandatory=False,
    )
