"""Whether a task costs more where a million others wait."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq, on_redis, on_sqlite
from benchmarks.measures.backlog import Backlog
from benchmarks.measures.drain import Drain
from benchmarks.model import Row, Target

FEW, MANY = Drain(kind="noop", tasks=1_000, times=10), Backlog(queued=1_000_000, tasks=10_000)
RABBITMQ, RABBITMQ_MANY = "RabbitMQ, 1,000 queued", "RabbitMQ, 1,000,000 queued"
SQLITE, SQLITE_MANY = "SQLite, 1,000 queued", "SQLite, 1,000,000 queued"


def _flat(ours: str, against: str, what: str) -> Target:
    return Target(ours=ours, against=against, figure="cost", must=1.1, aim=1.0, lower=True, what=what)


ROW = Row(
    title="cost of a task from 1,000 to 1,000,000 queued",
    measure=FEW,
    contenders=(
        on_rabbitmq(RABBITMQ, results=False),
        on_rabbitmq(RABBITMQ_MANY, results=False, measure=MANY),
        on_sqlite(SQLITE, results=False),
        on_sqlite(SQLITE_MANY, results=False, measure=MANY),
        on_redis("Redis, 1,000 queued", results=False),
        on_redis("Redis, 1,000,000 queued", results=False, measure=MANY),
    ),
    targets=(
        _flat(RABBITMQ_MANY, RABBITMQ, "cost of a task with 1,000,000 queued, to one with 1,000: RabbitMQ"),
        _flat(SQLITE_MANY, SQLITE, "the same, SQLite"),
    ),
    shown=("rate", "cost", "cpu", "broker"),
    note="Cost: processor time of worker and broker. The million is queued before the worker starts; 10,000 are timed.",
)
