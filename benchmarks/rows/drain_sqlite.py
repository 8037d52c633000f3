"""A queue full of tasks that do nothing, drained from a SQLite file by two processes, at equal durability."""

from __future__ import annotations

from benchmarks.contenders.celeriac import on_sqlite
from benchmarks.contenders.others import huey_sqlite
from benchmarks.measures.drain import Drain
from benchmarks.model import Row, Target

OURS, OURS_LAZY = "celeriac, synchronous=full", "celeriac, synchronous=normal"
HUEY, HUEY_LAZY = "huey -w 2, its default", "huey -w 2, fsync off"

ROW = Row(
    title="drain 10,000 no-op tasks, SQLite, equal fsync",
    measure=Drain(kind="noop", tasks=10_000),
    contenders=(
        huey_sqlite(HUEY, fsync=None),
        on_sqlite(OURS),
        huey_sqlite(HUEY_LAZY, fsync=False),
        on_sqlite(OURS_LAZY, "normal"),
        huey_sqlite("huey -w 2, results off", fsync=None, results=False),
        on_sqlite("celeriac, results ignored", results=False),
    ),
    targets=(
        Target(ours=OURS, against=HUEY, must=1.5, aim=3),
        Target(ours=OURS_LAZY, against=HUEY_LAZY, must=1.5, aim=3, what="the same, no fsync a commit on either side"),
    ),
    shown=("rate", "cpu", "pss", "twice", "lost"),
    note="huey with fsync off never waits for the disk; celeriac's `normal` still does at checkpoints.",
)
