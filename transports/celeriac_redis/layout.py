r"""Names of keys and channels: kombu's, and our own beside them. Pure.

kombu's: a queue is a list of its own name, and ``<queue>\x06\x163``, ``6`` and ``9`` for Celery's priorities; see
``docs/reference/redis.md`` for the whole table. Those of a queue that is ours alone are made in ``scripts/common.lua``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SEPARATOR = "\x06\x16"
OURS = "celeriac:"
STEPS = ("3", "6", "9")
LEVEL_OF_STEP = {"3": "a", "6": "b", "9": "c"}
TAKEN = {"unacked", "unacked_index", "unacked_mutex"}  # a list of that name would stop every worker of the database
TAKEN_BEGINNINGS = (OURS, "_kombu.binding", "celery-task-meta-", "celeriac-group-")


@dataclass(frozen=True, slots=True)
class Layout:
    """The names under one prefix of one database.

    Attributes:
        prefix: what every key and channel begins with.
        database: its number stands in the names of channels, which all databases share.
    """

    prefix: str
    database: int

    @property
    def keys(self) -> tuple[str, ...]:
        """What every script is given: see ``scripts/common.lua``."""
        ours = self.prefix + OURS
        return self.unacked, self.unacked_index, ours + "queues", ours + "exchanges", ours + "paused"

    @property
    def unacked(self) -> str:
        """The hash of what is held."""
        return self.prefix + "unacked"

    @property
    def unacked_index(self) -> str:
        """The sorted set of when it was taken."""
        return self.prefix + "unacked_index"

    @property
    def queues(self) -> str:
        """The hash of the queues."""
        return self.prefix + OURS + "queues"

    @property
    def revoked(self) -> str:
        """The sorted set of revoked ids."""
        return self.prefix + OURS + "revoked"

    @property
    def bell(self) -> str:
        """What the channels begin with on which sleepers are woken."""
        return self._channel("bell:")

    @property
    def revocations(self) -> str:
        """The channel on which revocations are told."""
        return self._channel("revoked")

    def signal(self, topic: str) -> str:
        """Return the channel of a topic."""
        return self._channel("signal:" + topic)

    def lists(self, queue: str) -> tuple[str, ...]:
        """Return the lists that kombu puts messages of ``queue`` into."""
        return (self.prefix + queue, *(self.prefix + queue + SEPARATOR + step for step in STEPS))

    def _channel(self, name: str) -> str:
        return f"{self.prefix}/{self.database}.{OURS}{name}"


def is_taken(queue: str) -> bool:
    """Return whether the list of a queue of that name could be another key of kombu's or ours."""
    return queue in TAKEN or queue.startswith(TAKEN_BEGINNINGS) or SEPARATOR in queue


def level_of(priority: object) -> str:
    """Return the level of the list into which kombu puts a message of that priority."""
    if not isinstance(priority, int) or priority < int(STEPS[0]):
        return "0"
    return LEVEL_OF_STEP[max(step for step in STEPS if int(step) <= priority)]


def pattern(exchange_type: str, key: str) -> str:
    """Return what kombu writes beside the key of a binding: for a topic, the regular expression that it matches by."""
    if exchange_type != "topic":
        return ""
    words = {"*": r"[^\.]+", "#": r".*?"}
    return "^" + r"\.".join(words.get(word, _escaped(word)) for word in key.split(".")) + "$"


def _escaped(word: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "#*" else "\\" + letter for letter in word)


def matching(key: str, regular: str, routing_key: str) -> bool:
    """Return whether a binding as kombu keeps it takes ``routing_key``; without an expression it is compared."""
    return re.match(regular, routing_key) is not None if regular else key == routing_key
