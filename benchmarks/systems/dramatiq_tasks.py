"""Dramatiq 2, with its defaults but for what `SETTINGS` says.

``middleware``: ``none`` leaves out every middleware, retries and time limits with them; ``confirm``: wait for each
confirm; ``results``: keep them in Redis.
"""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.systems import bodies
from benchmarks.systems.producer import produce, timed
from benchmarks.systems.settings import RESULTS_URL, SETTINGS, URL, named

QUEUE = named("bench_dramatiq{}")

more: dict[str, Any] = {"middleware": []} if SETTINGS.get("middleware") == "none" else {}
broker = RabbitmqBroker(url=URL, confirm_delivery=SETTINGS.get("confirm", False), **more)
if SETTINGS.get("results"):
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    broker.add_middleware(Results(backend=RedisBackend(url=RESULTS_URL)))
dramatiq.set_broker(broker)
kinds = {"noop": bodies.noop, "sleep": bodies.sleep, "spin": bodies.spin}
actors = {kind: dramatiq.actor(body, actor_name=kind, queue_name=QUEUE) for kind, body in kinds.items()}
if SETTINGS.get("results"):
    actors["echo"] = dramatiq.actor(bodies.echo, actor_name="echo", queue_name=QUEUE, store_results=True)


def one(kind: str, n: int) -> None:
    send = actors[kind].send
    for _ in range(n):
        send()


def round_trips(kind: str, n: int) -> list[float]:
    return timed(lambda number: actors[kind].send(number).get_result(block=True, timeout=10_000), n)


if __name__ == "__main__":
    produce({"one": one, "round_trips": round_trips}, closed=broker.close)
