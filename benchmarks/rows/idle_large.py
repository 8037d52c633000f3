"""The memory of a worker of eight executors that has nothing to do, of an app that holds 40 MB."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq
from benchmarks.contenders.celery import celery
from benchmarks.measures.memory import Memory
from benchmarks.model import Row, Target

OURS, CELERY = "celeriac -c 8 --preload", "Celery prefork -c 8"
MB = 40

ROW = Row(
    title="idle worker, 8 executors, app of 40 MB, `--preload`: PSS",
    measure=Memory(),
    contenders=(
        celery(CELERY, concurrency=8, ballast=MB),
        on_rabbitmq(OURS, concurrency=8, ballast=MB, arguments=("--preload",)),
        on_rabbitmq("celeriac -c 8", concurrency=8, ballast=MB),
    ),
    targets=(Target(ours=OURS, against=CELERY, figure="pss", must=2.0, aim=1.4, lower=True),),
    shown=("pss",),
)
