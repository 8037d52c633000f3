"""What a worker's memory grows by when very many tasks are delayed by an hour."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq, on_redis, on_sqlite
from benchmarks.contenders.celery import celery
from benchmarks.measures.memory import Memory
from benchmarks.model import Row, Target

OURS, SQLITE = "celeriac, RabbitMQ", "celeriac, SQLite"

ROW = Row(
    title="worker memory with 100,000 tasks delayed by an hour",
    measure=Memory(delayed=100_000),
    contenders=(
        on_rabbitmq(OURS),
        on_sqlite(SQLITE),
        on_redis("celeriac, Redis"),
        celery("Celery, RabbitMQ, 10,000 tasks", measure=Memory(delayed=10_000)),
        celery("Celery, Redis, 10,000 tasks", broker="redis", measure=Memory(delayed=10_000)),
    ),
    targets=(
        Target(
            ours=OURS,
            against=None,
            figure="grown",
            must=2,
            aim=0,
            lower=True,
            what="100,000 delayed, RabbitMQ: MB more",
        ),
        Target(
            ours=SQLITE,
            against=None,
            figure="grown",
            must=2,
            aim=0,
            lower=True,
            what="100,000 delayed, SQLite: MB more",
        ),
    ),
    shown=("pss", "grown"),
    note="Celery has a tenth of the tasks: it takes them into the worker's memory, or is slow to.",
)
