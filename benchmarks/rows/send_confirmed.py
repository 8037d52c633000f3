"""Sending from one thread, one by one, each confirmed by the broker before the call returns."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq, on_sqlite
from benchmarks.contenders.celery import celery
from benchmarks.contenders.dramatiq import dramatiq
from benchmarks.contenders.others import c_program, pika
from benchmarks.measures.send import Send
from benchmarks.model import Row, Target

OURS, OURS_CLASSIC = "celeriac, quorum", "celeriac, classic"
C, C_CLASSIC = "C (librabbitmq), quorum", "C (librabbitmq), classic"
DRAMATIQ = "Dramatiq, confirmed"

ROW = Row(
    title="sends one by one, confirmed, one thread",
    measure=Send(tasks=2_000),
    contenders=(
        c_program(C, "quorum"),
        on_rabbitmq(OURS, way="one"),
        pika("pika, quorum", "quorum", way="one"),
        c_program(C_CLASSIC, "classic"),
        on_rabbitmq(OURS_CLASSIC, "classic", way="one"),
        dramatiq(DRAMATIQ, confirm=True),
        pika("pika, classic", "classic", way="one"),
        celery("Celery, confirmed", safe=True),
        on_sqlite("celeriac, SQLite", way="one"),
    ),
    targets=(
        Target(
            ours=OURS_CLASSIC, against=DRAMATIQ, must=0.9, aim=1.1, what="sends one by one, confirmed, classic queue"
        ),
        Target(ours=OURS, against=C, must=0.6, aim=0.9, what="the same, quorum queue"),
    ),
    shown=("rate", "cpu", "broker"),
)
