"""Sending many at once, every one confirmed, in celeriac's three ways, beside Celery's loop."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq
from benchmarks.contenders.celery import celery
from benchmarks.contenders.taskiq import taskiq
from benchmarks.measures.send import Send
from benchmarks.model import Row, Target

MANY, BATCH, GATHER = "celeriac, delay_many", "celeriac, batch", "celeriac, gathered adelay"
MANY_CLASSIC, CELERY = "celeriac, delay_many, classic", "Celery, unconfirmed, one by one"

ROW = Row(
    title="sends in bulk, all confirmed",
    measure=Send(tasks=10_000),
    contenders=(
        celery(CELERY),
        on_rabbitmq(MANY, way="bulk"),
        on_rabbitmq(BATCH, way="batch"),
        on_rabbitmq(GATHER, way="gather"),
        on_rabbitmq(MANY_CLASSIC, "classic", way="bulk"),
        taskiq("Taskiq, gathered"),
    ),
    targets=(
        Target(ours=MANY, against=CELERY, must=4, aim=5, what="sends in bulk, all confirmed: `delay_many`"),
        Target(ours=BATCH, against=CELERY, must=4, aim=5, what="the same, `batch`"),
        Target(ours=GATHER, against=CELERY, must=4, aim=5, what="the same, 500 `adelay` gathered"),
    ),
    shown=("rate", "cpu", "broker"),
    note="Celery has no bulk call.",
)
