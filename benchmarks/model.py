"""What the files of ``rows/`` are made of: who competes, what is measured, and what is to be reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.bench import Bench

Figures = dict[str, float]


class Measure(Protocol):
    """How a row's figures come about; the classes of ``measures/``."""

    def quick(self) -> Measure:
        """Return the same with so few tasks that it takes seconds: for trying out, its figures mean nothing."""
        ...

    def __call__(self, bench: Bench, contender: Contender) -> Figures:
        """Measure a contender once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms a figure was reached: what its line in the table must tell."""

    queue: str = "-"
    results: str = "-"
    confirms: str = "-"
    acks: str = "-"
    fsync: str = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One system with one configuration.

    Attributes:
        name: for people; unique within a row.
        peer: whose environment it needs: ``celeriac``, or a name in `benchmarks.environments.REQUIREMENTS`.
        system: its module in ``systems/``.
        terms: what its line tells.
        broker: where its tasks go.
        worker: its worker's command, as arguments of its Python (``-m ...``) or a script of its environment.
        settings: what its module is told.
        query: of the broker's URL.
        results_broker: where its results go, if its module keeps them elsewhere.
        way: how it sends (see its module).
        processes: how many processes run its tasks: each has run one before the clock starts.
        copies: how many workers are started by that command.
        queues: of RabbitMQ, deleted afterwards; braces stand where `benchmarks.systems.settings.named` says.
        environment: variables that its processes get.
        measure: instead of the row's.
        missing: says why it cannot run here, if it cannot.
    """

    name: str
    peer: str
    system: str
    terms: Terms = Terms()
    broker: Literal["rabbitmq", "redis", "sqlite", "none"] = "rabbitmq"
    worker: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""
    results_broker: Literal["rabbitmq", "redis", "rpc", "none"] = "none"
    way: str = "one"
    processes: int = 2
    copies: int = 1
    queues: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    measure: Measure | None = None
    missing: Callable[[], str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be reached: a figure of ours beside a figure of another.

    Attributes:
        ours: a contender's name.
        against: another's; ``None`` compares with nothing: ``must`` and ``aim`` are absolute.
        figure: which of the measured ones.
        must: the ratio (ours by theirs) to reach.
        aim: the ratio to hope for.
        lower: less is better.
        what: said instead of the row's title.
    """

    ours: str
    against: str | None
    figure: str = "rate"
    must: float
    aim: float
    lower: bool = False
    what: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of work: how it is measured, who competes, and what is to be reached.

    Attributes:
        title: of the work.
        measure: how.
        contenders: who, in the order in which a round goes through them.
        targets: the lines of the summary.
        shown: the figures that the row's table shows.
        note: what a reader must know.
    """

    title: str
    measure: Measure
    contenders: tuple[Contender, ...]
    targets: tuple[Target, ...]
    shown: tuple[str, ...] = ("rate",)
    note: str = ""
