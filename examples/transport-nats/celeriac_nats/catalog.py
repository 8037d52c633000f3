"""What is declared: in a key-value bucket that every process watches, and in a routing table beside it.

NATS has no exchanges. Each publisher routes by itself, by the table; the bucket makes them agree. Keys:

    exchange.<name>    {"name", "type"}
    queue.<name>       {"name", "priorities", "arguments", "lease"}
    binding.<digest>   {"exchange", "queue", "routing_key"}
    paused.<name>      {"name"}
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import nats.errors
import nats.js.errors
from nats.js.api import KeyValueConfig

from celeriac.errors import ConnectionLost, QueueNotFound, TransportError
from celeriac.topology import Binding, Exchange, Queue, Topology
from celeriac.transport_helpers import RoutingTable, dump_headers, load_headers
from celeriac_nats.names import token
from celeriac_nats.wire import dedup_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nats.js.kv import KeyValue

    from celeriac_nats.link import Link


class Catalog:
    """The bucket as this process sees it: as it was at most a moment ago, and never older than our own writes.

    Attributes:
        table: routes messages.
        paused: names of queues.
        watchers: each is called after something has changed.
    """

    def __init__(self, link: Link) -> None:
        """Know nothing yet."""
        self.table = RoutingTable()
        self.paused: set[str] = set()
        self.watchers: list[Callable[[], None]] = []
        self._link = link
        self._kept: dict[str, Mapping[str, Any]] = {}
        self._revision = 0
        self._news = asyncio.Condition()
        self._complete = asyncio.Event()
        self._bucket: KeyValue
        self._following: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Find the bucket, or make it; return once all that it holds is known."""
        name = self._link.names.catalog
        config = KeyValueConfig(bucket=name, replicas=self._link.address.replicas)
        self._bucket = await self._link.ask(self._link.js.create_key_value(config), f"cannot make the bucket {name}")
        self._following = asyncio.create_task(self._follow())
        await self._link.ask(self._complete.wait(), f"cannot read the bucket {name}")

    async def close(self) -> None:
        """Follow no longer."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    def lease(self, queue: str) -> float:
        """Return the seconds that deliveries of ``queue`` stay with their consumer.

        Raises:
            QueueNotFound: it is not declared.
        """
        if queue not in self.table.queues:
            raise QueueNotFound(f"queue {queue!r} does not exist")
        return float(self._kept[f"queue.{token(queue)}"]["lease"])

    async def catch_up(self) -> None:
        """Return once everything is known that anyone has written until now."""
        status = await self._link.ask(self._bucket.status(), "cannot look at the catalog")
        await self._known(status.stream_info.state.last_seq)

    async def add(self, topology: Topology, lease: float) -> None:
        """Write what is not there yet; return once it is known here."""
        records: dict[str, Mapping[str, Any]] = {}
        for exchange in topology.exchanges:
            records[f"exchange.{token(exchange.name)}"] = {"name": exchange.name, "type": exchange.type}
        for queue in topology.queues:
            records[f"queue.{token(queue.name)}"] = {
                "name": queue.name,
                "priorities": queue.priorities,
                "arguments": dict(queue.arguments),
                "lease": lease,
            }
        for binding in topology.bindings:
            key = dedup_id(binding.exchange, binding.queue, binding.routing_key)
            records[f"binding.{key}"] = {name: getattr(binding, name) for name in ("exchange", "queue", "routing_key")}
        await self._write({key: record for key, record in records.items() if key not in self._kept})

    async def remove(self, queue: str) -> None:
        """Forget ``queue``, its bindings, and that it is paused."""
        keys = [f"queue.{token(queue)}", f"paused.{token(queue)}"]
        keys += [key for key, record in self._kept.items() if record.get("queue") == queue]
        await self._erase([key for key in keys if key in self._kept])

    async def set_paused(self, queue: str, *, paused: bool) -> None:
        """Write whether ``queue`` is paused."""
        key = f"paused.{token(queue)}"
        await self._write({key: {"name": queue}}) if paused else await self._erase([key])

    async def _write(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        revision = 0
        for key, record in records.items():
            try:
                creating = self._bucket.create(key, dump_headers(record).encode())
                revision = await self._link.ask(creating, f"cannot write {key} to the catalog")
            except TransportError as error:
                if not isinstance(error.__cause__, nats.js.errors.KeyWrongLastSequenceError):
                    raise
                await self.catch_up()  # another process was first; whether it agrees, our caller looks
        await self._known(revision)

    async def _erase(self, keys: list[str]) -> None:
        for key in keys:
            await self._link.ask(self._bucket.delete(key), f"cannot delete {key} from the catalog")
        if keys:
            await self.catch_up()

    async def _known(self, revision: int) -> None:
        async def wait() -> None:
            async with self._news:
                await self._news.wait_for(lambda: self._revision >= revision)

        if self._revision < revision:
            await self._link.ask(wait(), "waiting for the catalog")

    async def _follow(self) -> None:
        watcher = await self._bucket.watchall()
        try:
            await self._read(watcher)
        except Exception as error:  # noqa: BLE001 - whatever it is, what we know of the catalog would grow old
            self._link.lose(ConnectionLost(f"cannot follow the catalog: {error!r}"))
        finally:
            with suppress(nats.errors.Error):
                await watcher.stop()  # type: ignore[no-untyped-call]

    async def _read(self, watcher: KeyValue.KeyWatcher) -> None:
        async for entry in watcher:
            if entry is None:  # all that was there when we began
                self._complete.set()
                continue
            if entry.operation is None:
                self._learn(entry.key, load_headers((entry.value or b"null").decode()))
            else:
                self._unlearn(entry.key)
            async with self._news:
                self._revision = entry.revision or self._revision
                self._news.notify_all()
            for changed in self.watchers:
                changed()

    def _learn(self, key: str, record: Mapping[str, Any]) -> None:
        self._kept[key] = record
        match key.partition(".")[0]:
            case "exchange":
                self.table.add(Topology(exchanges=[Exchange(record["name"], record["type"])]))
            case "queue":
                queue = Queue(record["name"], priorities=record["priorities"], arguments=record["arguments"])
                self.table.add(Topology(queues=[queue]))
            case "binding":
                self.table.add(Topology(bindings=[Binding(**record)]))
            case "paused":
                self.paused.add(record["name"])

    def _unlearn(self, key: str) -> None:
        record = self._kept.pop(key, None)
        if record is None:
            return
        if key.startswith("queue."):
            self.table.remove_queue(record["name"])
        elif key.startswith("paused."):
            self.paused.discard(record["name"])
