"""Celery 5, with its defaults but for what the environment says."""

from __future__ import annotations

import os
import sys

from celery import Celery

from benchmarks.systems.producer import produce
from benchmarks.ticks import tick

app = Celery(
    "bench", broker=os.environ["BENCH_URL"], backend="rpc://" if os.environ.get("BENCH_RESULTS") == "1" else None
)
app.conf.task_default_queue = "bench_celery"
app.conf.broker_connection_retry_on_startup = True


@app.task(name="noop", ignore_result=os.environ.get("BENCH_RESULTS") != "1")
def noop() -> None:
    tick()


if __name__ == "__main__":
    produce(sys.argv, noop.delay, None)
