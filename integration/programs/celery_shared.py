"""A real Celery program on the Redis that it shares with our workers; run in an environment of its own.

``SUMS_BROKER`` is our URL: prefix and visibility timeout are taken from its query; Celery has no URL options for them.
"""

import os
import sys
import time
from urllib.parse import parse_qs

from celery import Celery

url, _, query = os.environ["SUMS_BROKER"].partition("?")
given = {name: values[0] for name, values in parse_qs(query).items()}
app = Celery("celery_shared", broker=url, backend=url)
app.conf.broker_transport_options = {
    "global_keyprefix": given["prefix"],
    "visibility_timeout": float(given.get("visibility_timeout", 3600)),
}
app.conf.result_backend_transport_options = {"global_keyprefix": given["prefix"]}
app.conf.broker_connection_retry_on_startup = True
app.conf.task_acks_late = True
app.conf.worker_prefetch_multiplier = 1
app.conf.worker_send_task_events = False


@app.task(name="shared.add")
def add(x, y):
    return x + y


@app.task(name="shared.fail")
def fail():
    raise ValueError("boom", 42)


@app.task(name="shared.note", ignore_result=True)
def note(path, number, seconds=0.0):
    """Take some time, then leave one line, written at once: who, and which."""
    time.sleep(seconds)
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(file, f"celery {number}\n".encode())
    os.close(file)


@app.task(name="shared.hold", ignore_result=True)
def hold(path, number, seconds):
    """Leave a line at the beginning and at the end."""
    note(path, number)
    time.sleep(seconds)
    note(path, -number)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "ask":
        print(add.delay(2, 3).get(timeout=20))
        try:
            fail.delay().get(timeout=20)
        except ValueError as error:
            print(error.args)
    elif command == "hold":
        hold.delay(arguments[0], int(arguments[1]), float(arguments[2]))
    elif command == "notes":
        path, start, count = arguments[0], int(arguments[1]), int(arguments[2])
        with app.producer_pool.acquire(block=True) as producer:
            for number in range(start, start + count):
                note.apply_async((path, number, 0.002), producer=producer)
    elif command == "ranked":
        for number, priority in enumerate((9, 6, 3, 0)):
            note.apply_async((arguments[0], number), priority=priority)
