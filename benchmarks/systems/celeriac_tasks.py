"""celeriac, with its defaults but for what the environment says."""

from __future__ import annotations

import os
import sys

from benchmarks.systems.producer import produce
from benchmarks.ticks import tick
from celeriac import App

app = App("benchmarks.systems.celeriac_tasks", broker=os.environ["BENCH_URL"])


@app.task(ignore_result=os.environ.get("BENCH_RESULTS") != "1")
def noop() -> None:
    tick()


def bulk(n: int) -> None:
    noop.delay_many([()] * n)


if __name__ == "__main__":
    produce(sys.argv, noop.delay, bulk)
    app.close()
