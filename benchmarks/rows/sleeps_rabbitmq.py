"""The scenario that others publish: tasks that sleep 10 ms, on RabbitMQ, as many at a time as each can."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq
from benchmarks.contenders.celery import celery
from benchmarks.contenders.dramatiq import dramatiq
from benchmarks.contenders.taskiq import taskiq
from benchmarks.measures.drain import Drain
from benchmarks.model import Row, Target

OURS, TASKIQ = "celeriac -c 2 --coroutines 500", "Taskiq -w 2, 500 at a time"
CELERY = "Celery, gevent, 1,000"

ROW = Row(
    title="10,000 tasks that sleep 10 ms, RabbitMQ, up to 1,000 at a time",
    measure=Drain(kind="sleep", tasks=10_000),
    contenders=(
        taskiq(TASKIQ, coroutines=500, fast=True),
        on_rabbitmq(OURS, arguments=("--coroutines", "500")),
        celery(CELERY, pool="gevent", concurrency=1000, fast=True),
        dramatiq("Dramatiq -p 2 -t 100", threads=100, bare=True),
    ),
    targets=(
        Target(ours=OURS, against=TASKIQ, must=1.5, aim=3),
        Target(ours=OURS, against=CELERY, must=1.5, aim=3),
    ),
    shown=("rate", "cpu", "broker", "pss", "twice", "lost"),
)
