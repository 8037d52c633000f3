"""From the start of a worker's command to the end of its first task."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq, on_sqlite
from benchmarks.contenders.celery import celery
from benchmarks.contenders.dramatiq import dramatiq
from benchmarks.measures.start import Start
from benchmarks.model import Row, Target

OURS, CELERY = "celeriac -c 2", "Celery prefork -c 2"

ROW = Row(
    title="start of a worker to its first task done",
    measure=Start(),
    contenders=(
        celery(CELERY),
        on_rabbitmq(OURS),
        dramatiq("Dramatiq -p 2 -t 4"),
        celery("Celery, its fast settings", fast=True),
        on_sqlite("celeriac, SQLite"),
    ),
    targets=(Target(ours=OURS, against=CELERY, figure="seconds", must=0.35, aim=0.2, lower=True),),
    shown=("seconds",),
)
