"""Whether a task costs more where a worker serves a hundred queues."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq, on_sqlite
from benchmarks.measures.drain import Drain
from benchmarks.model import Row, Target

RABBITMQ, RABBITMQ_HUNDRED = "RabbitMQ, 1 queue", "RabbitMQ, 100 queues"
CLASSIC, CLASSIC_HUNDRED = "RabbitMQ, 1 queue, classic", "RabbitMQ, 100 queues, classic"
SQLITE, SQLITE_HUNDRED = "SQLite, 1 queue", "SQLite, 100 queues"


def _flat(ours: str, against: str, what: str) -> Target:
    return Target(ours=ours, against=against, figure="cost", must=1.1, aim=1.0, lower=True, what=what)


ROW = Row(
    title="cost of a task from 1 to 100 queues",
    measure=Drain(kind="noop", tasks=10_000),
    contenders=(
        on_rabbitmq(RABBITMQ, queues=1),
        on_rabbitmq(RABBITMQ_HUNDRED, queues=100),
        on_rabbitmq(CLASSIC, "classic", queues=1),
        on_rabbitmq(CLASSIC_HUNDRED, "classic", queues=100),
        on_sqlite(SQLITE, queues=1),
        on_sqlite(SQLITE_HUNDRED, queues=100),
    ),
    targets=(
        _flat(RABBITMQ_HUNDRED, RABBITMQ, "cost of a task with 100 queues, to one with 1: RabbitMQ"),
        _flat(CLASSIC_HUNDRED, CLASSIC, "the same, classic queues"),
        _flat(SQLITE_HUNDRED, SQLITE, "the same, SQLite"),
    ),
    shown=("rate", "cost", "cpu", "broker"),
    note="The tasks are spread evenly. A quorum queue is a process with a log of its own in the server.",
)
