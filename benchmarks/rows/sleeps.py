"""Many coroutines that wait: 10 ms each."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq, on_redis
from benchmarks.contenders.celery import celery
from benchmarks.contenders.others import arq, streaq
from benchmarks.contenders.taskiq import taskiq
from benchmarks.measures.drain import Drain
from benchmarks.model import Row, Target

OURS, OURS_REDIS = "celeriac -c 2 --coroutines 300, RabbitMQ", "celeriac -c 2 --coroutines 300, Redis"
TASKIQ, ARQ, STREAQ = "Taskiq -w 2, RabbitMQ", "arq, 2 workers", "streaQ -w 2"
WIDE = ("--coroutines", "300")

ROW = Row(
    title="2,000 `async def` tasks that sleep 10 ms",
    measure=Drain(kind="sleep", tasks=2_000),
    contenders=(
        taskiq(TASKIQ, coroutines=300, fast=True),
        on_rabbitmq(OURS, arguments=WIDE),
        arq(ARQ, jobs=300),
        on_redis(OURS_REDIS, arguments=WIDE),
        streaq(STREAQ, coroutines=300),
        taskiq("Taskiq -w 2, Redis stream", broker="redis", coroutines=300, fast=True),
        on_rabbitmq("celeriac -c 2, its defaults, RabbitMQ"),
        celery("Celery, gevent, 300", pool="gevent", concurrency=300, fast=True),
    ),
    targets=(
        Target(ours=OURS, against=TASKIQ, must=1.5, aim=3),
        Target(ours=OURS, against=ARQ, must=1.5, aim=3),
        Target(ours=OURS, against=STREAQ, must=1.5, aim=3),
    ),
    shown=("rate", "cpu", "broker", "pss", "twice", "lost"),
)
