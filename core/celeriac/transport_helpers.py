"""Parts that an author of a transport may compose. The core's worker calls only the port, never these."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from celeriac.errors import ConfigurationError, UnknownOption, Unsupported
from celeriac.message import DeadLetter, Delivery, Message, Move
from celeriac.topology import DEAD_SUFFIX, DEFAULT_EXCHANGE, PRIORITY_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from celeriac.topology import Binding, Exchange, Queue, Topology
    from celeriac.transport import Capabilities

OWN_HEADER = "celeriac"


class RoutingTable:
    """Exchanges for brokers that have none: which queues a message goes to. Pure; nothing is stored elsewhere."""

    def __init__(self) -> None:
        """Start with the default exchange only."""
        self.exchanges: dict[str, Exchange] = {}
        self.queues: dict[str, Queue] = {}
        self._bindings: dict[str, set[Binding]] = {}

    def add(self, topology: Topology) -> None:
        """Add what ``topology`` declares."""
        self.exchanges |= {exchange.name: exchange for exchange in topology.exchanges}
        self.queues |= {queue.name: queue for queue in topology.queues}
        for binding in topology.bindings:
            self._bindings.setdefault(binding.exchange, set()).add(binding)

    def remove_queue(self, name: str) -> None:
        """Forget a queue and its bindings."""
        self.queues.pop(name, None)
        for bindings in self._bindings.values():
            bindings -= {binding for binding in bindings if binding.queue == name}

    def route(self, exchange: str, routing_key: str) -> list[str]:
        """Return the names of the queues, each once, in order; empty where nothing is bound."""
        if exchange == DEFAULT_EXCHANGE:
            return [routing_key] if routing_key in self.queues else []
        known = self.exchanges.get(exchange)
        if known is None:
            return []
        bound = self._bindings.get(exchange, ())
        return sorted({b.queue for b in bound if matches(known.type, b.routing_key, routing_key)})


def matches(exchange_type: str, binding_key: str, routing_key: str) -> bool:
    """Return whether a binding takes a key, as AMQP 0-9-1 (section 3.1.3) has it."""
    if exchange_type == "fanout":
        return True
    if exchange_type == "direct":
        return binding_key == routing_key
    return _topic(binding_key).fullmatch("." + routing_key) is not None


@lru_cache(maxsize=1024)
def _topic(pattern: str) -> re.Pattern[str]:
    # every word is matched with the dot before it, so that '#' can be no word at all
    words = {"*": r"\.[^.]*", "#": r"(?:\.[^.]*)*"}
    return re.compile("".join(words.get(word, r"\." + re.escape(word)) for word in pattern.split(".")))


def dead_letter(delivery: Delivery, letter: DeadLetter, now: datetime) -> Message:
    """Return the message that stands for ``delivery`` in its queue's dead-letter queue.

    The body, id and headers stay; why, when and from where stand under ``dead`` in the header table ``celeriac``.
    """
    own = delivery.message.headers.get(OWN_HEADER)
    why = {
        "reason": letter.reason,
        "detail": letter.detail,
        "attempts": letter.attempts,
        "worker": letter.worker,
        "queue": delivery.queue,
        "exchange": delivery.message.exchange,
        "routing_key": delivery.message.routing_key,
        "at": now.isoformat(),
    }
    table = {**(own if isinstance(own, dict) else {}), "dead": why}
    return replace(
        delivery.message,
        exchange=DEFAULT_EXCHANGE,
        routing_key=delivery.queue + DEAD_SUFFIX,
        headers={**delivery.message.headers, OWN_HEADER: table},
        not_before=None,
        mandatory=True,
    )


def dead_as_move(delivery: Delivery, letter: DeadLetter, now: datetime) -> Move:
    """Return a dead letter as publish-then-ack, for brokers that have nothing better."""
    return Move((dead_letter(delivery, letter, now),))


def refuse_unsupported(message: Message, queue: Queue, capabilities: Capabilities, now: datetime) -> None:
    """Raise `Unsupported` for a priority or a delay that ``queue`` does not have.

    Raises:
        Unsupported: with the line to change.
        ConfigurationError: the priority is not 0 to 9.
    """
    if message.priority:
        refuse_priority(message.priority, queue, capabilities)
    if message.not_before is not None and message.not_before > now:
        longest = capabilities.max_delay
        if longest is None:
            raise Unsupported(f"queue {queue.name!r} cannot delay messages on this broker")
        if message.not_before - now > longest:
            raise Unsupported(f"queue {queue.name!r} delays by {longest} at most, not until {message.not_before}")


def refuse_priority(priority: int, queue: Queue, capabilities: Capabilities) -> None:
    """Raise for a priority that is no priority, or that ``queue`` does not keep."""
    if not 0 <= priority < PRIORITY_LEVELS:
        raise ConfigurationError(f"priority {priority} is not 0 to {PRIORITY_LEVELS - 1} (higher is sooner)")
    if priority >= capabilities.priority_levels:
        raise Unsupported(
            f"queue {queue.name!r} keeps no priority {priority}; declare it with "
            f"Queue({queue.name!r}, priorities={PRIORITY_LEVELS})"
        )


def url_options(url: str, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return the query of ``url``, each value converted by its function in ``known``.

    Raises:
        UnknownOption: a name that is not in ``known``, with a did-you-mean.
        ConfigurationError: a value that does not convert.
    """
    options: dict[str, Any] = {}
    for name, text in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name not in known:
            raise UnknownOption("URL option", name, known)
        try:
            options[name] = known[name](text)
        except ValueError as error:
            raise ConfigurationError(f"URL option {name}={text!r}: {error}") from None
    return options


def masked(url: str) -> str:
    """Return ``url`` with its password, and any secret in its query, as ``**``."""
    # up to the last @, however wrongly the password was written into the URL; a URL may lack its scheme
    url = re.sub(r"(?<=://)([^:@/?#]*):.*@", r"\1:**@", url)
    url = re.sub(r"^([^:@/?#]*):(?!//).*@", r"\1:**@", url)
    return re.sub(r"((?:password|secret|token|key)[^=&]*=)[^&]+", r"\1**", url, flags=re.IGNORECASE)


def masked_all(urls: Iterable[str]) -> str:
    """Return the addresses of a cluster for people to read, secrets masked."""
    return ", ".join(masked(url) for url in urls)
