"""Eight threads that send one by one, each send confirmed, over one connection."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_rabbitmq
from benchmarks.measures.send import Send
from benchmarks.model import Row, Target

EIGHT, ONE = "celeriac, 8 threads", "celeriac, 1 thread"
EIGHT_CLASSIC, ONE_CLASSIC = "celeriac, 8 threads, classic", "celeriac, 1 thread, classic"

ROW = Row(
    title="8 threads sending one by one, confirmed, one connection",
    measure=Send(tasks=4_000),
    contenders=(
        on_rabbitmq(ONE, way="one"),
        on_rabbitmq(EIGHT, way="threads"),
        on_rabbitmq(ONE_CLASSIC, "classic", way="one"),
        on_rabbitmq(EIGHT_CLASSIC, "classic", way="threads"),
    ),
    targets=(
        Target(ours=EIGHT, against=ONE, must=3, aim=4),
        Target(ours=EIGHT_CLASSIC, against=ONE_CLASSIC, must=3, aim=4, what="the same, classic queue"),
    ),
    shown=("rate", "cpu", "broker"),
)
