"""The memory of a worker that has nothing to do, of an app that imports nothing."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq
from benchmarks.contenders.celery import celery
from benchmarks.contenders.dramatiq import dramatiq
from benchmarks.measures.memory import Memory
from benchmarks.model import Row, Target

OURS, CELERY = "celeriac -c 2", "Celery prefork -c 2"

ROW = Row(
    title="idle worker, 2 executors, empty app: PSS",
    measure=Memory(),
    contenders=(
        celery(CELERY),
        on_rabbitmq(OURS),
        dramatiq("Dramatiq -p 2 -t 4"),
        on_rabbitmq("celeriac -c 2 --preload", arguments=("--preload",)),
    ),
    targets=(Target(ours=OURS, against=CELERY, figure="pss", must=0.9, aim=0.6, lower=True),),
    shown=("pss",),
)
