"""From the call to its result, one after the other."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq, on_redis, on_sqlite
from benchmarks.contenders.celery import celery
from benchmarks.contenders.dramatiq import dramatiq
from benchmarks.contenders.others import pika_echo
from benchmarks.contenders.taskiq import taskiq
from benchmarks.measures.round_trip import RoundTrip
from benchmarks.model import Row, Target

OURS, CELERY = "celeriac -c 2", "Celery prefork -c 2"

ROW = Row(
    title="round trip, `delay` to `get`, RabbitMQ",
    measure=RoundTrip(tasks=1_000),
    contenders=(
        celery(CELERY, results=True),
        on_rabbitmq(OURS),
        dramatiq("Dramatiq -p 2 -t 4", results=True),
        on_rabbitmq("celeriac, classic", "classic"),
        pika_echo("pika alone, quorum", "quorum"),
        pika_echo("pika alone, classic", "classic"),
        taskiq("Taskiq -w 2, results looked for each ms", results=True),
        on_redis("celeriac, Redis"),
        on_sqlite("celeriac, SQLite"),
    ),
    targets=(
        Target(ours=OURS, against=CELERY, figure="p50", must=0.5, aim=0.35, lower=True, what="round trip, p50"),
        Target(ours=OURS, against=CELERY, figure="p99", must=0.6, aim=0.4, lower=True, what="round trip, p99"),
    ),
    shown=("p50", "p99"),
    note="pika alone is a loop that answers each message, in one process and one thread a side: what the broker takes.",
)
