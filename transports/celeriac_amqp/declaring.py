"""Exchanges, queues and bindings as RabbitMQ has them, and what was declared from here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError, QueueNotFound, TopologyMismatch
from celeriac.topology import DEFAULT_EXCHANGE, Queue, Topology, dead_queue
from celeriac.transport_helpers import RoutingTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.topology import Binding, DeclareMode
    from celeriac_amqp.connection import Channel, Session

logger = logging.getLogger("celeriac.amqp")

QUORUM: Mapping[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
"""The arguments of a task queue, frozen: they can never be changed once a queue exists.

The limit is one that is never reached: RabbitMQ 4 drops a message after 20 deliveries where none is given, and 3.10
drops it at the first give-back where it is -1.
"""
CLASSIC: Mapping[str, Any] = {"x-queue-type": "classic"}


def queue_arguments(queue: Queue, default_type: str) -> dict[str, Any]:
    """Return what ``queue`` is declared with.

    A queue that names its own ``x-queue-type`` is declared with its arguments as they are. The type is always sent
    but for ``plain``, because a broker may be set up with another default than its vendor's.

    Args:
        queue: with its own arguments, which win.
        default_type: ``quorum``, ``classic`` or ``plain``, for a queue that does not say.

    Raises:
        ConfigurationError: priorities on a quorum queue, which keeps none.
    """
    own = dict(queue.arguments)
    levels = {} if queue.priorities == 1 else {"x-max-priority": queue.priorities - 1}
    if own.get("x-queue-type", "classic") != "classic" and levels:
        raise ConfigurationError(
            f"queue {queue.name!r} cannot keep {queue.priorities} priorities with x-queue-type "
            f"{own['x-queue-type']!r}; leave the type out, and it is declared classic"
        )
    if "x-queue-type" in own or default_type == "plain":
        return {**levels, **own}
    if levels or default_type == "classic":
        return {**CLASSIC, **levels, **own}
    return {**QUORUM, **own}


def priority_levels(queue: Queue) -> int:
    """Return how many priorities ``queue`` keeps apart."""
    highest = queue.arguments.get("x-max-priority")
    return highest + 1 if isinstance(highest, int) else queue.priorities


class Declarations:
    """What was declared from here: it is declared again when it was lost, and routes what must be routed here.

    Attributes:
        routes: exchanges and bindings, for messages whose queues must be known when they are sent.
    """

    def __init__(self, default_type: str, control: Callable[[], Session]) -> None:
        """Know nothing yet.

        Args:
            default_type: of a queue that does not say; see `queue_arguments`.
            control: the open connection on which to declare.
        """
        self.routes = RoutingTable()
        self._default_type = default_type
        self._control = control
        self._modes: dict[str, DeclareMode] = {}
        self._bindings: dict[str, set[Binding]] = {}
        self._dead: set[str] = set()

    def queue(self, name: str) -> Queue:
        """Return the queue as it was declared, or as it would be."""
        return self.routes.queues.get(name) or Queue(name)

    def levels(self, name: str) -> int:
        """Return how many priorities the queue named ``name`` keeps."""
        return priority_levels(self.queue(name))

    async def declare(self, topology: Topology) -> None:
        """Make ``topology`` exist, or check it, as its mode says.

        Raises:
            TopologyMismatch: names the queue or exchange and what differs, or that it is missing.
        """
        if topology.mode != "never":
            async with self._control().scratch() as channel:
                for exchange in topology.exchanges:
                    await self._exchange(channel, exchange.name, exchange.type, topology.mode)
                for queue in topology.queues:
                    await self._queue(channel, queue, topology.mode)
                if topology.mode == "active":
                    await self._bind(channel, topology)
        self.routes.add(topology)
        self._modes.update((queue.name, topology.mode) for queue in topology.queues)
        for binding in topology.bindings:
            self._bindings.setdefault(binding.queue, set()).add(binding)

    async def again(self, name: str) -> None:
        """Declare the queue ``name`` as it was declared last, for it was deleted.

        Raises:
            QueueNotFound: it was not made by us, so we do not make it again.
        """
        if self._modes.get(name) != "active":
            raise QueueNotFound(f"queue {name!r} was deleted, and was not declared by us")
        bindings = tuple(self._bindings.get(name, ()))
        exchanges = [self.routes.exchanges[b.exchange] for b in bindings if b.exchange in self.routes.exchanges]
        await self.declare(Topology(exchanges, (self.queue(name),), bindings))

    async def dead(self, name: str) -> None:
        """Make the queue for ``name``'s dead letters, once, unless we may not declare."""
        if name in self._dead:
            return
        mode = self._modes.get(name, "active")
        queue = dead_queue(self.queue(name))
        if mode == "active":
            async with self._control().scratch() as channel:
                await self._queue(channel, queue, mode)
        self.routes.add(Topology(queues=(queue,)))
        self._dead.add(name)

    def forget(self, name: str) -> None:
        """Forget the queue ``name``: it was deleted on purpose."""
        self.routes.remove_queue(name)
        self._modes.pop(name, None)
        self._bindings.pop(name, None)
        self.forget_dead()

    def forget_dead(self) -> None:
        """Take no dead-letter queue as made: somebody may have deleted one."""
        self._dead.clear()

    async def _exchange(self, channel: Channel, name: str, kind: str, mode: DeclareMode) -> None:
        if name == DEFAULT_EXCHANGE or name.startswith("amq."):
            return
        try:
            await channel.call("exchange_declare", name, kind, durable=True, passive=mode == "passive")
        except QueueNotFound as error:
            raise TopologyMismatch(f"exchange {name!r} does not exist, and we may not declare it") from error

    async def _queue(self, channel: Channel, queue: Queue, mode: DeclareMode) -> None:
        if mode == "passive":
            try:
                await channel.call("queue_declare", queue.name, passive=True)
            except QueueNotFound as error:
                raise TopologyMismatch(f"queue {queue.name!r} does not exist, and we may not declare it") from error
        elif self._default_type == "plain" and not queue.arguments:
            await self._plain(queue)
        else:
            arguments = queue_arguments(queue, self._default_type)
            await channel.call("queue_declare", queue.name, durable=True, arguments=arguments)

    async def _plain(self, queue: Queue) -> None:
        try:
            async with self._control().scratch() as channel:
                arguments = queue_arguments(queue, self._default_type)
                await channel.call("queue_declare", queue.name, durable=True, arguments=arguments)
        except TopologyMismatch as error:
            logger.info("taking a queue as it is: %s", error)
            async with self._control().scratch() as channel:
                await channel.call("queue_declare", queue.name, passive=True)

    async def _bind(self, channel: Channel, topology: Topology) -> None:
        for binding in topology.bindings:
            if binding.exchange != DEFAULT_EXCHANGE:
                await channel.call("queue_bind", binding.queue, binding.exchange, binding.routing_key)
