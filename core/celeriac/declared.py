"""What an App declares of queues, exchanges and bindings; complete once the settings say which queue is the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.errors import ConfigurationError
from celeriac.routing import Route, targets_of
from celeriac.topology import Exchange, Queue, Topology

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celeriac.routing import Routes
    from celeriac.settings import Settings
    from celeriac.topology import Binding

DEFAULT_QUEUE = "celeriac"


@dataclass(frozen=True, slots=True)
class Declared:
    """An App's own words.

    Attributes:
        queues: by name, those that the routes describe first.
        exchanges: beside those that the queues name.
        bindings: beside each queue's own.
    """

    queues: Mapping[str, Queue]
    exchanges: Sequence[Exchange]
    bindings: Sequence[Binding]

    @classmethod
    def of(
        cls, queues: Sequence[Queue], exchanges: Sequence[Exchange], bindings: Sequence[Binding], routes: Routes | None
    ) -> Declared:
        """Gather what an App is given.

        Raises:
            ConfigurationError: a queue is declared twice in different ways, or a route leads nowhere.
        """
        targets = targets_of(routes)
        named = {target.name: target for target in targets if isinstance(target, Queue)} | _by_name(queues)
        routed = [target.exchange for target in targets if isinstance(target, Route)]
        further = [exchange for exchange in routed if isinstance(exchange, Exchange)]
        return cls(named, (*exchanges, *further), tuple(bindings))

    def default_queue(self, settings: Settings) -> Queue:
        """Return where a task goes that has no route."""
        name = settings.default_queue or settings.fleet or DEFAULT_QUEUE
        return self.queues.get(name) or Queue(name)

    def with_default(self, default: Queue) -> tuple[Queue, ...]:
        """Return every queue, the default one first."""
        return (default, *(queue for queue in self.queues.values() if queue.name != default.name))

    def topology(self, queues: Sequence[Queue], mode: str) -> Topology:
        """Return what is to be declared of ``queues`` and all else, in the ``mode`` of the setting ``declare``."""
        return Topology.of(queues, self.exchanges, self.bindings, mode=mode)  # type: ignore[arg-type] # a setting has one of the words


def _by_name(queues: Sequence[Queue]) -> dict[str, Queue]:
    named: dict[str, Queue] = {}
    for queue in queues:
        if named.setdefault(queue.name, queue) != queue:
            raise ConfigurationError(f"queue {queue.name!r} is declared twice, in different ways; keep one of them")
    return named
