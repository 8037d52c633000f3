"""Work that keeps a processor busy for 5 ms, beside two processes that do it with no queue at all."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq, on_sqlite
from benchmarks.contenders.celery import celery
from benchmarks.contenders.dramatiq import dramatiq
from benchmarks.contenders.others import bare_processes
from benchmarks.measures.bare import Bare
from benchmarks.measures.drain import Drain
from benchmarks.model import Row, Target

OURS, IDEAL = "celeriac -c 2, RabbitMQ", "two processes, no queue"

ROW = Row(
    title="1,000 `def` tasks of 5 ms of processor time",
    measure=Drain(kind="spin", tasks=1_000),
    contenders=(
        bare_processes(IDEAL, Bare(kind="spin", tasks=1_000)),
        on_rabbitmq(OURS),
        dramatiq("Dramatiq -p 2 -t 1", threads=1),
        celery("Celery prefork -c 2, its fast settings", fast=True),
        on_sqlite("celeriac -c 2, SQLite"),
    ),
    targets=(
        Target(ours=OURS, against=IDEAL, must=0.9, aim=0.97, what="1,000 tasks of 5 ms, of a perfect use of 2 cores"),
    ),
    shown=("rate", "cpu", "broker", "twice", "lost"),
    note="5 ms are those of the machine at its best; the two processes run the tasks as it is in that round.",
)
