"""Taskiq, with its defaults but for what `SETTINGS` says.

``broker``: ``amqp`` or ``stream``; ``prefetch``: of RabbitMQ's channel; ``results``: keep them in Redis; ``poll``:
seconds between two looks for a result.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.systems import bodies
from benchmarks.systems.producer import produce
from benchmarks.systems.settings import RESULTS_URL, SETTINGS, URL, named

QUEUE = named("bench_taskiq{}")
GATHERED = 500

broker: Any
if SETTINGS["broker"] == "amqp":
    from taskiq_aio_pika import AioPikaBroker, Exchange, Queue

    broker = AioPikaBroker(
        URL,
        qos=SETTINGS.get("prefetch", 10),
        exchange=Exchange(name=QUEUE),
        task_queues=[Queue(name=QUEUE)],
        dead_letter_queue=Queue(name=f"{QUEUE}.dead"),
    )
else:
    from taskiq_redis import RedisStreamBroker

    broker = RedisStreamBroker(URL, queue_name=QUEUE)
if SETTINGS.get("results"):
    from taskiq_redis import RedisAsyncResultBackend

    broker = broker.with_result_backend(RedisAsyncResultBackend(RESULTS_URL, result_ex_time=600))
kinds = {"noop": bodies.anoop, "sleep": bodies.asleep, "spin": bodies.aspin, "echo": bodies.aecho}
tasks = {kind: broker.task(task_name=kind)(body) for kind, body in kinds.items()}


async def one(kind: str, n: int) -> None:
    for _ in range(n):
        await tasks[kind].kiq()


async def bulk(kind: str, n: int) -> None:
    """Send concurrently: there is no bulk call."""
    for begin in range(0, n, GATHERED):
        await asyncio.gather(*(tasks[kind].kiq() for _ in range(min(GATHERED, n - begin))))


async def round_trips(kind: str, n: int) -> list[float]:
    seconds = []
    for number in range(n):
        begin = time.perf_counter()
        task = await tasks[kind].kiq(number)
        result = await task.wait_result(check_interval=SETTINGS["poll"], timeout=10)
        seconds.append(time.perf_counter() - begin)
        if result.return_value != number:
            raise ValueError(f"asked for {number}, got {result!r}")
    return seconds


if __name__ == "__main__":
    produce({"one": one, "bulk": bulk, "round_trips": round_trips}, opened=broker.startup, closed=broker.shutdown)
