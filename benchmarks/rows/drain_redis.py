"""A queue full of tasks that do nothing, drained from Redis by two processes."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_redis
from benchmarks.contenders.celery import celery
from benchmarks.contenders.others import arq, huey_redis, streaq
from benchmarks.contenders.taskiq import taskiq
from benchmarks.measures.drain import Drain
from benchmarks.model import Row, Target

OURS, OURS_IGNORED = "celeriac -c 2", "celeriac, results ignored"
CELERY, TASKIQ, HUEY = "Celery prefork -c 2", "Taskiq -w 2, stream", "huey -w 2, stripped, at most once"

ROW = Row(
    title="drain 10,000 no-op tasks, Redis, 2 executors",
    measure=Drain(kind="noop", tasks=10_000),
    contenders=(
        celery(CELERY, broker="redis"),
        on_redis(OURS),
        taskiq(TASKIQ, broker="redis"),
        huey_redis(HUEY),
        on_redis(OURS_IGNORED, results=False),
        celery("Celery, its fast settings", broker="redis", fast=True),
        arq("arq, 2 workers, its fast settings"),
        streaq("streaQ -w 2, its fast settings"),
    ),
    targets=(
        Target(ours=OURS, against=CELERY, must=8, aim=12),
        Target(ours=OURS, against=TASKIQ, must=1.5, aim=3),
        Target(ours=OURS, against=HUEY, must=1.3, aim=2.5),
    ),
    shown=("rate", "cpu", "broker", "pss", "twice", "lost"),
)
