"""Sending from one thread, one by one, without waiting for each confirm; every one has come before the clock stops."""

from __future__ import annotations

from benchmarks.contenders.celeriac import DEFERRED, on_rabbitmq
from benchmarks.contenders.celery import celery
from benchmarks.contenders.dramatiq import dramatiq
from benchmarks.measures.send import Send
from benchmarks.model import Row, Target

OURS, OURS_CLASSIC, CELERY = "celeriac, deferred, quorum", "celeriac, deferred, classic", "Celery, unconfirmed"
APP = {"publish_confirm": "deferred"}

ROW = Row(
    title="sends one by one, confirms deferred, one thread",
    measure=Send(tasks=10_000),
    contenders=(
        celery(CELERY),
        on_rabbitmq(OURS, way="deferred", app=APP, confirms=DEFERRED),
        dramatiq("Dramatiq, unconfirmed"),
        on_rabbitmq(OURS_CLASSIC, "classic", way="deferred", app=APP, confirms=DEFERRED),
    ),
    targets=(
        Target(ours=OURS, against=CELERY, must=3, aim=4),
        Target(ours=OURS_CLASSIC, against=CELERY, must=3, aim=4, what="the same, classic queue"),
    ),
    shown=("rate", "cpu", "broker"),
    note="celeriac's clock stops when `app.flush()` has returned: all is confirmed. The others hear of no confirm.",
)
