"""How near the broker's own limit: results ignored, beside a loop on pika that only consumes and acknowledges."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq
from benchmarks.contenders.others import pika
from benchmarks.measures.drain import Drain
from benchmarks.model import Row, Target

OURS, OURS_CLASSIC = "celeriac, quorum", "celeriac, classic"
PIKA, PIKA_CLASSIC = "pika's asyncio connection, quorum", "pika's asyncio connection, classic"

ROW = Row(
    title="drain 10,000 no-op tasks, RabbitMQ, results ignored",
    measure=Drain(kind="noop", tasks=10_000),
    contenders=(
        pika(PIKA, "quorum"),
        on_rabbitmq(OURS, results=False),
        pika(PIKA_CLASSIC, "classic"),
        on_rabbitmq(OURS_CLASSIC, "classic", results=False),
        pika("pika's blocking connection, quorum", "quorum", connection="blocking"),
        pika("pika's blocking connection, classic", "classic", connection="blocking"),
    ),
    targets=(
        Target(ours=OURS, against=PIKA, must=0.6, aim=0.9),
        Target(ours=OURS_CLASSIC, against=PIKA_CLASSIC, must=0.6, aim=0.9, what="the same, classic queues"),
    ),
    shown=("rate", "cpu", "broker", "pss", "twice", "lost"),
    note="pika consumes in one process, with a prefetch of 250, and acknowledges each message as it comes.",
)
