"""No task queue: pika alone, and the way from a message to its answer.

``consume`` answers each message in the loop that consumes it, then acknowledges; everything else asks, with each
message confirmed, and takes the answers by RabbitMQ's direct reply-to.

In `SETTINGS`: ``queue`` and ``type``, of the queue.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pika

from benchmarks.systems.pika_loop import ARGUMENTS, PARAMETERS, QUEUE
from benchmarks.systems.producer import produce, timed
from benchmarks.ticks import tick

if TYPE_CHECKING:
    from collections.abc import Callable

REPLY_TO = "amq.rabbitmq.reply-to"


def opened() -> Any:
    channel = pika.BlockingConnection(PARAMETERS).channel()
    channel.queue_declare(QUEUE, durable=True, arguments=ARGUMENTS)
    return channel


def consume() -> None:
    channel = opened()

    def delivered(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        tick()
        if properties.reply_to:
            channel.basic_publish("", properties.reply_to, body)
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(QUEUE, delivered)
    channel.start_consuming()


def asking() -> tuple[Callable[[str, int], None], Callable[[str, int], list[float]]]:
    """Return what only sends, and what asks for an answer to each."""
    channel, answers = opened(), list[bytes]()
    channel.basic_consume(REPLY_TO, lambda _channel, _method, _properties, body: answers.append(body), auto_ack=True)
    channel.confirm_delivery()

    def send(body: bytes, reply_to: str | None) -> None:
        properties = pika.BasicProperties(delivery_mode=2, reply_to=reply_to)
        channel.basic_publish("", QUEUE, body, properties, mandatory=True)

    def one(_kind: str, n: int) -> None:
        for _ in range(n):
            send(b"", None)

    def trip(number: int) -> int:
        send(json.dumps(number).encode(), REPLY_TO)
        while not answers:
            channel.connection.process_data_events(None)
        return int(json.loads(answers.pop()))

    return one, lambda _kind, n: timed(trip, n)


if __name__ == "__main__":
    if sys.argv[1] == "consume":
        consume()
    else:
        without_answer, round_trips = asking()
        produce({"one": without_answer, "round_trips": round_trips})
