"""Whether a task costs more where eight executors run them, on however many cores."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq, on_sqlite
from benchmarks.measures.drain import Drain
from benchmarks.model import Row, Target

RABBITMQ, RABBITMQ_EIGHT = "RabbitMQ, -c 1", "RabbitMQ, -c 8"
SQLITE, SQLITE_EIGHT = "SQLite, -c 1", "SQLite, -c 8"


def _flat(ours: str, against: str, what: str) -> Target:
    return Target(ours=ours, against=against, figure="cost", must=1.1, aim=1.0, lower=True, what=what)


ROW = Row(
    title="cost of a task from 1 to 8 executors",
    measure=Drain(kind="noop", tasks=10_000),
    contenders=(
        on_rabbitmq(RABBITMQ, concurrency=1),
        on_rabbitmq(RABBITMQ_EIGHT, concurrency=8),
        on_sqlite(SQLITE, concurrency=1),
        on_sqlite(SQLITE_EIGHT, concurrency=8),
    ),
    targets=(
        _flat(RABBITMQ_EIGHT, RABBITMQ, "cost of a task with 8 executors, to one with 1: RabbitMQ"),
        _flat(SQLITE_EIGHT, SQLITE, "the same, SQLite"),
    ),
    shown=("rate", "cost", "cpu", "broker", "pss"),
)
