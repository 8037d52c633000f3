"""Dramatiq 2 on RabbitMQ's classic queues: acknowledged after the task, sends not confirmed by default."""

from __future__ import annotations

from typing import Any

from benchmarks.model import Contender, Terms

SYSTEM = "dramatiq_tasks"
QUEUES = ("bench_dramatiq{}", "bench_dramatiq{}.DQ", "bench_dramatiq{}.XQ")
FAST_PREFETCH = ("dramatiq_queue_prefetch", "200")


def dramatiq(
    name: str,
    *,
    processes: int = 2,
    threads: int = 4,
    bare: bool = False,
    confirm: bool = False,
    results: bool = False,
    **more: Any,
) -> Contender:
    """Return it.

    Args:
        name: of the contender.
        processes: of the worker.
        threads: of each process.
        bare: without any middleware, so without retries and time limits, and with a deep prefetch: its fastest.
        confirm: wait for each confirm.
        results: keep them in Redis.
        more: fields of the contender.
    """
    return Contender(
        name=name,
        peer="dramatiq",
        system=SYSTEM,
        results_broker="redis" if results else "none",
        terms=Terms(
            queue="classic",
            results="kept, in Redis" if results else "ignored",
            confirms="each, and routed" if confirm else "none",
            acks="after the task",
            fsync="before a confirm" if confirm else "not waited for",
        ),
        worker=("-m", "dramatiq", f"benchmarks.systems.{SYSTEM}", "-p", str(processes), "-t", str(threads)),
        settings={"middleware": "none" if bare else "default", "confirm": confirm, "results": results},
        environment=(FAST_PREFETCH,) if bare else (),
        processes=processes,
        queues=QUEUES,
        **more,
    )
