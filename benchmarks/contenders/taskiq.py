"""Taskiq: its plugins for RabbitMQ (quorum queues by default) and for Redis streams; acknowledged after the task."""

from __future__ import annotations

from typing import Any

from benchmarks.model import Contender, Terms

SYSTEM = "taskiq_tasks"
QUEUES = ("bench_taskiq{}", "bench_taskiq{}.dead")


def taskiq(
    name: str,
    *,
    broker: str = "rabbitmq",
    coroutines: int = 100,
    fast: bool = False,
    results: bool = False,
    **more: Any,
) -> Contender:
    """Return it.

    Args:
        name: of the contender.
        broker: ``rabbitmq`` or ``redis`` (a stream).
        coroutines: tasks that one of the two processes runs at a time.
        fast: a deep prefetch, and arguments not parsed.
        results: keep them in Redis, looked for every millisecond.
        more: fields of the contender.
    """
    rabbit = broker == "rabbitmq"
    deep = ("--no-parse", "--max-prefetch", str(coroutines)) if fast else ()
    limit = ("--max-async-tasks", str(coroutines))
    command = ("-m", "taskiq", "worker", f"benchmarks.systems.{SYSTEM}:broker", "-w", "2", "--log-level", "WARNING")
    return Contender(
        name=name,
        peer="taskiq",
        system=SYSTEM,
        broker=broker,  # type: ignore[arg-type] # one of two words
        results_broker="redis" if results else "none",
        terms=Terms(
            queue="quorum" if rabbit else "stream",
            results="kept, in Redis" if results else "ignored",
            confirms="each" if rabbit else "each reply",
            acks="after the task",
            fsync="before a confirm" if rabbit else "never",
        ),
        worker=(*command, *limit, *deep),
        settings={
            "broker": "amqp" if rabbit else "stream",
            "prefetch": max(10, coroutines) if fast else 10,
            "results": results,
            "poll": 0.001,
        },
        way="bulk",
        queues=QUEUES if rabbit else (),
        **more,
    )
