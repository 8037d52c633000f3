"""Exchanges, queues and bindings, as frozen data. The words are AMQP's; every transport gives them meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ExchangeType = Literal["direct", "topic", "fanout"]
DeclareMode = Literal["active", "passive", "never"]
DEFAULT_EXCHANGE = ""
DEAD_SUFFIX = ".dead"
MAX_NAME_BYTES = 255
PRIORITY_LEVELS = 10


@dataclass(frozen=True, slots=True)
class Exchange:
    """Where messages are published.

    ``direct`` routes by equal key, ``topic`` by pattern (``*`` one word, ``#`` any), ``fanout`` to every bound queue.
    """

    name: str
    type: ExchangeType = "direct"

    def __post_init__(self) -> None:
        """Refuse a name or type that no broker would take."""
        _check_name("exchange", self.name)
        if self.type not in {"direct", "topic", "fanout"}:
            raise ConfigurationError(
                f"exchange {self.name!r} has type {self.type!r}; use 'direct', 'topic' or 'fanout'"
            )


@dataclass(frozen=True, slots=True)
class Queue:
    """Where messages wait.

    Attributes:
        name: the queue's name.
        exchange: the exchange it is bound to; by default a direct exchange of the queue's own name.
        routing_key: the key it is bound with; by default the queue's name.
        priorities: how many levels it keeps apart, 1 (none) to 10 (priorities 0 to 9, higher is sooner).
        arguments: passed to the broker as they are; they can never be changed afterwards.
    """

    name: str
    exchange: str | Exchange | None = None
    routing_key: str | None = None
    priorities: int = 1
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Refuse what no broker would take."""
        _check_name("queue", self.name)
        if not 1 <= self.priorities <= PRIORITY_LEVELS:
            raise ConfigurationError(
                f"queue {self.name!r} has priorities={self.priorities}; use 1 to {PRIORITY_LEVELS}"
            )

    @property
    def bound_exchange(self) -> Exchange:
        """The exchange it is bound to."""
        if isinstance(self.exchange, Exchange):
            return self.exchange
        return Exchange(self.exchange or self.name)

    @property
    def bound_key(self) -> str:
        """The key it is bound with."""
        return self.name if self.routing_key is None else self.routing_key


@dataclass(frozen=True, slots=True)
class Binding:
    """``queue`` receives what ``exchange`` routes by ``routing_key``."""

    exchange: str
    queue: str
    routing_key: str = ""


@dataclass(frozen=True, slots=True)
class Topology:
    """What should exist, and whether it may be made.

    ``active`` declares; ``passive`` only checks that it is there; ``never`` asks the broker nothing.
    """

    exchanges: Sequence[Exchange] = ()
    queues: Sequence[Queue] = ()
    bindings: Sequence[Binding] = ()
    mode: DeclareMode = "active"

    @classmethod
    def of(
        cls,
        queues: Sequence[Queue],
        exchanges: Sequence[Exchange] = (),
        bindings: Sequence[Binding] = (),
        *,
        mode: DeclareMode = "active",
    ) -> Topology:
        """Return the topology that ``queues`` imply: each with its own exchange and binding.

        A full `Exchange` wins over a mere name, and one that is named in ``exchanges`` over both.

        Raises:
            ConfigurationError: one exchange is given two types.
        """
        found: dict[str, Exchange] = {}
        for exchange in exchanges:
            _add_exchange(found, exchange)
        for queue in queues:
            if isinstance(queue.exchange, Exchange):
                _add_exchange(found, queue.exchange)
        for queue in queues:
            found.setdefault(queue.bound_exchange.name, queue.bound_exchange)
        own = [Binding(queue.bound_exchange.name, queue.name, queue.bound_key) for queue in queues]
        return cls(tuple(found.values()), tuple(queues), (*own, *bindings), mode)


def dead_queue(queue: Queue) -> Queue:
    """Return the queue that keeps ``queue``'s dead letters: the same arguments and levels, its own direct exchange."""
    return Queue(queue.name + DEAD_SUFFIX, priorities=queue.priorities, arguments=queue.arguments)


def _add_exchange(found: dict[str, Exchange], exchange: Exchange) -> None:
    known = found.setdefault(exchange.name, exchange)
    if known.type != exchange.type:
        raise ConfigurationError(f"exchange {exchange.name!r} is declared as {known.type!r} and as {exchange.type!r}")


def _check_name(what: str, name: str) -> None:
    if not name or len(name.encode()) > MAX_NAME_BYTES:
        raise ConfigurationError(f"{what} name {name[:40]!r} must have 1 to {MAX_NAME_BYTES} bytes")
