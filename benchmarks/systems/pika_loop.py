"""No task queue: pika alone.

``consume`` acknowledges in a loop, every message a task done; everything else publishes messages of a task's size. In
`SETTINGS`: ``queue`` and ``type``, of the queue; ``prefetch``; ``connection``: ``asyncio`` or ``blocking``, to consume
with; ``confirmed``: wait for the confirm of each message before the next.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from benchmarks.systems.producer import produce
from benchmarks.systems.settings import SETTINGS, URL, named
from benchmarks.ticks import tick

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUE, ARGUMENTS = named(SETTINGS["queue"]), {"x-queue-type": SETTINGS["type"]}
BODY = json.dumps([[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()
PARAMETERS = pika.URLParameters(URL)
PARAMETERS.heartbeat = 300  # a frozen consumer answers none


def properties() -> pika.BasicProperties:
    """Return the properties of one task: as many headers as Celery's protocol asks for."""
    task_id = str(uuid4())
    headers = {
        "lang": "py",
        "task": "noop",
        "id": task_id,
        "root_id": task_id,
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": "gen1@bench",
        "retries": 0,
    }
    return pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=task_id,
        delivery_mode=2,
        headers=headers,
    )


def consume_blocking() -> None:
    channel = pika.BlockingConnection(PARAMETERS).channel()
    channel.queue_declare(QUEUE, durable=True, arguments=ARGUMENTS)
    channel.basic_qos(prefetch_count=SETTINGS["prefetch"])

    def delivered(channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        tick()
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(QUEUE, delivered)
    channel.start_consuming()


def consume_asyncio() -> None:
    loop = asyncio.new_event_loop()

    def delivered(channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        tick()
        channel.basic_ack(method.delivery_tag)

    def opened(channel: Any) -> None:
        channel.basic_qos(prefetch_count=SETTINGS["prefetch"])
        channel.queue_declare(QUEUE, durable=True, arguments=ARGUMENTS)
        channel.basic_consume(QUEUE, delivered)

    AsyncioConnection(
        PARAMETERS, on_open_callback=lambda connection: connection.channel(on_open_callback=opened), custom_ioloop=loop
    )
    loop.run_forever()


def publishing(*, confirmed: bool) -> tuple[Callable[[], None], Callable[[str, int], None]]:
    """Return what opens a channel, and what publishes on it."""
    channels: list[Any] = []

    def opened() -> None:
        channel = pika.BlockingConnection(PARAMETERS).channel()
        channel.queue_declare(QUEUE, durable=True, arguments=ARGUMENTS)
        if confirmed:
            channel.confirm_delivery()
        channels.append(channel)

    def publish(_kind: str, n: int) -> None:
        (channel,) = channels
        for _ in range(n):
            channel.basic_publish("", QUEUE, BODY, properties(), mandatory=confirmed)
        channel.queue_declare(QUEUE, passive=True)  # answered after all that was written before it

    return opened, publish


if __name__ == "__main__":
    if sys.argv[1] == "consume":
        (consume_asyncio if SETTINGS["connection"] == "asyncio" else consume_blocking)()
    else:
        open_channel, send = publishing(confirmed=SETTINGS["confirmed"])
        produce({"one": send, "bulk": send}, opened=open_channel)
