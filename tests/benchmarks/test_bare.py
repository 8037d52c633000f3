"""The reference of no queue at all: its processes run beside each other."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.contenders.others import bare_processes
from benchmarks.measures.bare import Bare


def test_its_processes_run_at_the_same_time():
    measure = Bare(
        kind="sleep", tasks=200
    )  # a task sleeps 10 ms: one process after the other runs 100 a second at most
    figures = measure(Bench(rabbitmq=None, redis=None, spins=1), bare_processes("bare", measure))
    assert figures["rate"] > 105
