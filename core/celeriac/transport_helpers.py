"""Parts that an author of a transport may compose. The core's worker calls only the port, never these."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from celeriac.errors import ConfigurationError, TopologyMismatch, UnknownOption, Unsupported
from celeriac.message import DeadLetter, Delivery, Message, Move
from celeriac.topology import DEAD_SUFFIX, DEFAULT_EXCHANGE, PRIORITY_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from celeriac.topology import Binding, Exchange, Queue, Topology
    from celeriac.transport import Capabilities

OWN_HEADER = "celeriac"
_BYTES = "$bytes"
_WANTED: Mapping[object, str] = {int: "use a whole number", float: "use a number"}


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


def refuse_mismatch(topology: Topology, table: RoutingTable) -> None:
    """Raise where a queue or an exchange of ``topology`` exists otherwise.

    Raises:
        TopologyMismatch: names the first one, and what differs.
    """
    for exchange in topology.exchanges:
        known = table.exchanges.get(exchange.name, exchange)
        if known.type != exchange.type:
            raise TopologyMismatch(f"exchange {exchange.name!r} is of type {known.type!r}, not {exchange.type!r}")
    for queue in topology.queues:
        kept = table.queues.get(queue.name, queue)
        if kept.priorities != queue.priorities:
            raise TopologyMismatch(f"queue {queue.name!r} has priorities={kept.priorities}, not {queue.priorities}")
        for name in sorted({*kept.arguments, *queue.arguments}):
            old, new = kept.arguments.get(name), queue.arguments.get(name)
            if dump_headers(old) != dump_headers(new):
                raise TopologyMismatch(f"queue {queue.name!r} has argument {name}={old!r}, not {new!r}")


def first_missing(topology: Topology, table: RoutingTable) -> str:
    """Return the first exchange or queue, bindings' ends included, that is not there; or nothing."""
    exchanges = {exchange.name for exchange in topology.exchanges} | {b.exchange for b in topology.bindings}
    queues = {queue.name for queue in topology.queues} | {b.queue for b in topology.bindings}
    absent = [f"exchange {name!r}" for name in sorted(exchanges - table.exchanges.keys() - {DEFAULT_EXCHANGE})]
    absent += [f"queue {name!r}" for name in sorted(queues - table.queues.keys())]
    return absent[0] if absent else ""


def dump_headers(value: Any) -> str:
    """Return headers, or any value of them, as one line of ASCII JSON, for brokers that carry only text or bytes.

    Bytes, and keys that begin with ``$``, are marked with a ``$``. Equal headers give equal text.

    Raises:
        Unsupported: a value of a type that no broker carries, or nested too deeply.
    """
    try:
        try:
            text = json.dumps(value, separators=(",", ":"), sort_keys=True)
        except TypeError:
            text = "$"  # not plain JSON: mark what is not
        return json.dumps(_marked(value), separators=(",", ":"), sort_keys=True) if "$" in text else text
    except RecursionError:
        raise Unsupported("headers are nested too deeply") from None


def load_headers(text: str) -> Any:
    """Return what `dump_headers` was given."""
    value = json.loads(text)
    return _unmarked(value) if '"$' in text else value


def _marked(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return {_BYTES: b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {("$" + key if str(key).startswith("$") else str(key)): _marked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_marked(item) for item in value]
    raise Unsupported(f"a header cannot hold a {type(value).__name__}")


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {_BYTES}:
            return b64decode(value[_BYTES])
        return {(key[1:] if key.startswith("$$") else key): _unmarked(item) for key, item in value.items()}
    return value


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


def refuse_unsupported(
    message: Message, queue: Queue, capabilities: Capabilities, now: datetime, *, most_levels: int = PRIORITY_LEVELS
) -> None:
    """Raise `Unsupported` for a priority or a delay that ``queue`` does not have.

    Args:
        message: what is about to be published.
        queue: a queue that it is routed to.
        capabilities: of that queue.
        now: the time of day.
        most_levels: how many priorities a queue of this broker keeps at best; 1 where it has none at all.

    Raises:
        Unsupported: with the line to change.
        ConfigurationError: the priority is not 0 to 9.
    """
    if message.priority:
        refuse_priority(message.priority, queue, capabilities, most_levels=most_levels)
    if message.not_before is not None and message.not_before > now:
        longest = capabilities.max_delay
        if longest is None:
            raise Unsupported(f"queue {queue.name!r} cannot delay messages on this broker")
        if message.not_before - now > longest:
            raise Unsupported(f"queue {queue.name!r} delays by {longest} at most, not until {message.not_before}")


def refuse_priority(
    priority: int, queue: Queue, capabilities: Capabilities, *, most_levels: int = PRIORITY_LEVELS
) -> None:
    """Raise for a priority that is no priority, or that ``queue`` does not keep; as `refuse_unsupported`."""
    if not 0 <= priority < PRIORITY_LEVELS:
        raise ConfigurationError(f"priority {priority} is not 0 to {PRIORITY_LEVELS - 1} (higher is sooner)")
    if priority < capabilities.priority_levels:
        return
    if priority < most_levels:
        advice = f"declare it with Queue({queue.name!r}, priorities={PRIORITY_LEVELS})"
    else:
        advice = f"this broker's queues keep priorities={most_levels}"
    raise Unsupported(f"queue {queue.name!r} keeps no priority {priority}; {advice}")


def url_options(url: str, known: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Return the query of ``url``, each value converted by its function in ``known``.

    Raises:
        UnknownOption: a name that is not in ``known``, with a did-you-mean.
        ConfigurationError: a value that does not convert.
    """
    options: dict[str, Any] = {}
    for name, text in parse_qsl(_split(url).query, keep_blank_values=True):
        if name not in known:
            raise UnknownOption("URL option", name, known)
        try:
            options[name] = known[name](text)
        except ValueError as error:
            said = _WANTED.get(known[name], str(error))
            raise ConfigurationError(f"URL option {name}={text!r}: {said}") from None
    return options


def _split(url: str) -> SplitResult:
    """Split ``url``, before any part of it is shown: one that a password has broken would show a part of that."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or (_has_login(parts) and "@" in parts.path + parts.query + parts.fragment):
        raise ConfigurationError(
            f"{masked(url)!r} cannot be read; write its password percent-encoded: "
            "%2F for '/', %3F for '?', %23 for '#', %40 for '@', %5B for '['"
        )
    return parts


def _has_login(parts: SplitResult) -> bool:
    """Return whether what looks like the host has a colon before what is no port."""
    return re.search(r":(?!\d*$)", re.sub(r"\[.*\]", "", parts.netloc)) is not None


def masked(url: str) -> str:
    """Return ``url`` with its password, and any secret in its query, as ``**``."""
    # up to the last @, however wrongly the password was written into the URL; a URL may lack its scheme
    url = re.sub(r"(?<=://)([^:@/?#]*):.*@", r"\1:**@", url)
    url = re.sub(r"^([^:@/?#]*):(?!//).*@", r"\1:**@", url)
    return re.sub(r"((?:password|secret|token|key)[^=&]*=)[^&]+", r"\1**", url, flags=re.IGNORECASE)


def masked_all(urls: Iterable[str]) -> str:
    """Return the addresses of a cluster for people to read, secrets masked."""
    return ", ".join(masked(url) for url in urls)
