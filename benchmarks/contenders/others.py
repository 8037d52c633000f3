"""Systems that compete in a row or two: huey, arq, streaQ, and no task queue at all."""

from __future__ import annotations

from typing import Any

from benchmarks.environments import BARE, C_CLIENT, c_client, c_client_missing
from benchmarks.model import Contender, Measure, Terms

HUEY_FAST = ("-n", "-q", "-C")  # no periodic tasks, no log, no health check


def huey_redis(name: str, *, kind: str = "process", workers: int = 2, **more: Any) -> Contender:
    """Return huey on a Redis list, stripped: results off. It pops a message before the task runs: at most once."""
    return _huey(
        name,
        broker="redis",
        settings={"storage": "redis", "results": False},
        worker=("-k", kind, "-w", str(workers), *HUEY_FAST),
        terms=Terms(queue="list", results="ignored", confirms="each reply", acks="before the task", fsync="never"),
        processes=workers if kind == "process" else 1,
        **more,
    )


def huey_sqlite(name: str, *, fsync: bool | None, results: bool = True, **more: Any) -> Contender:
    """Return huey on SQLite; ``fsync=None`` is its default, which is SQLite's own: each commit."""
    return _huey(
        name,
        broker="sqlite",
        settings={"storage": "sqlite", "results": results, "options": {"fsync": fsync}},
        worker=("-k", "process", "-w", "2", *HUEY_FAST, "-d", "0.01", "-m", "0.05"),
        terms=Terms(
            queue="file",
            results="kept, in the file" if results else "ignored",
            confirms="each commit",
            acks="before the task",
            fsync="never" if fsync is False else "each commit",
        ),
        **more,
    )


def _huey(name: str, *, worker: tuple[str, ...], **more: Any) -> Contender:
    command = ("huey_consumer", "benchmarks.systems.huey_tasks.huey", *worker)
    return Contender(name=name, peer="huey", system="huey_tasks", worker=command, **more)


def arq(name: str, *, jobs: int = 100, copies: int = 2, **more: Any) -> Contender:
    """Return arq at its best settings: it polls 100 times a second, and keeps no result."""
    return Contender(
        name=name,
        peer="arq",
        system="arq_tasks",
        broker="redis",
        terms=Terms(queue="sorted set", results="ignored", confirms="each reply", acks="after the task", fsync="never"),
        worker=(
            "arq",
            "benchmarks.systems.arq_tasks.WorkerSettings",
            "--custom-log-dict",
            "benchmarks.systems.arq_tasks.LOG",
        ),
        settings={"worker": {"max_jobs": jobs, "poll_delay": 0.01, "keep_result": 0}},
        way="bulk",
        processes=copies,
        copies=copies,
        **more,
    )


def streaq(name: str, *, coroutines: int = 100, workers: int = 2, **more: Any) -> Contender:
    """Return streaQ at its best settings: uvloop, and no result kept."""
    return Contender(
        name=name,
        peer="streaq",
        system="streaq_tasks",
        broker="redis",
        terms=Terms(queue="stream", results="ignored", confirms="each reply", acks="after the task", fsync="never"),
        worker=("streaq", "run", "benchmarks.systems.streaq_tasks:worker", "-w", str(workers)),
        settings={
            "worker": {"concurrency": coroutines, "anyio_kwargs": {"use_uvloop": True}},
            "task": {"ttl": 0},
        },
        way="bulk",
        processes=workers,
        **more,
    )


def pika(name: str, queue: str, *, connection: str = "asyncio", way: str = "bulk", **more: Any) -> Contender:
    """Return no task queue: a loop on pika that consumes and acknowledges, or publishes one by one, confirmed."""
    default = f"bench_pika_{queue}{{}}"
    return Contender(
        name=name,
        peer="pika",
        system="pika_loop",
        terms=Terms(
            queue=queue,
            results="none",
            confirms="each, and routed" if way == "one" else "none",
            acks="each, at once",
            fsync="before a confirm" if way == "one" else "not waited for",
        ),
        worker=("-m", "benchmarks.systems.pika_loop", "consume"),
        settings={
            "queue": default,
            "type": queue,
            "prefetch": 250,
            "connection": connection,
            "confirmed": way == "one",
        },
        way=way,
        processes=1,
        queues=(default,),
        **more,
    )


def pika_echo(name: str, queue: str) -> Contender:
    """Return no task queue: a loop on pika that answers each message, and one that asks, confirmed."""
    default = f"bench_echo_{queue}{{}}"
    return Contender(
        name=name,
        peer="pika",
        system="pika_echo",
        terms=Terms(
            queue=queue,
            results="sent, not kept",
            confirms="each, and routed",
            acks="after the answer",
            fsync="before a confirm",
        ),
        worker=("-m", "benchmarks.systems.pika_echo", "consume"),
        settings={"queue": default, "type": queue},
        processes=1,
        queues=(default,),
    )


def c_program(name: str, queue: str) -> Contender:
    """Return ``clients/publish.c``: one by one, confirmed."""
    default = f"bench_c_{queue}{{}}"
    return Contender(
        name=name,
        peer=C_CLIENT,
        system="c_client",
        terms=Terms(queue=queue, results="none", confirms="each, and routed", fsync="before a confirm"),
        settings={"program": str(c_client()), "queue": default, "type": queue},
        queues=(default,),
        missing=c_client_missing,
    )


def bare_processes(name: str, measure: Measure) -> Contender:
    """Return no queue at all: what this machine can do."""
    return Contender(name=name, peer=BARE, system="bare_processes", broker="none", measure=measure)
