"""What everyone measures first: a queue full of tasks that do nothing, drained from RabbitMQ by two processes."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq
from benchmarks.contenders.celery import celery
from benchmarks.contenders.dramatiq import dramatiq
from benchmarks.contenders.taskiq import taskiq
from benchmarks.measures.drain import Drain
from benchmarks.model import Row, Target

CELERY, CELERY_QUORUM, CELERY_SAFE = (
    "Celery prefork -c 2",
    "Celery, quorum",
    "Celery, as safe: late acks, confirms, results",
)
DRAMATIQ = "Dramatiq -p 2 -t 4"
OURS, OURS_CLASSIC = "celeriac -c 2", "celeriac, classic"

ROW = Row(
    title="drain 10,000 no-op `def` tasks, RabbitMQ, 2 executors",
    measure=Drain(kind="noop", tasks=10_000),
    contenders=(
        celery(CELERY),
        on_rabbitmq(OURS),
        dramatiq(DRAMATIQ),
        on_rabbitmq(OURS_CLASSIC, "classic"),
        celery(CELERY_QUORUM, queue="quorum"),
        celery(CELERY_SAFE, queue="quorum", safe=True, results=True),
        celery("Celery, its fast settings", fast=True),
        celery("Celery solo, its fast settings", pool="solo", concurrency=1, fast=True),
        dramatiq("Dramatiq without middleware, prefetch 200", bare=True),
        taskiq("Taskiq -w 2"),
        taskiq("Taskiq -w 2, its fast settings", coroutines=300, fast=True),
    ),
    targets=(
        Target(ours=OURS, against=CELERY, must=5, aim=8),
        Target(ours=OURS_CLASSIC, against=CELERY, must=5, aim=8, what="the same, both on classic queues"),
        Target(ours=OURS, against=CELERY_SAFE, must=5, aim=8, what="the same, equally durable on both sides"),
        Target(ours=OURS, against=DRAMATIQ, must=2, aim=3),
        Target(
            ours=OURS,
            against=CELERY,
            figure="cpu",
            must=0.2,
            aim=0.11,
            lower=True,
            what="CPU of the worker's processes a task (user and system)",
        ),
    ),
    shown=("rate", "cpu", "broker", "pss", "twice", "lost"),
    note="Celery runs one task a process at a time, as celeriac does; Dramatiq four, Taskiq a hundred (coroutines).",
)
