"""A real Celery program, run in an environment of its own: ``worker`` by Celery's command, ``send`` by this file."""

import json
import os
import sys

from celery import Celery

app = Celery("celery_side", broker=os.environ["SUMS_BROKER"], backend="rpc://")
app.conf.accept_content = ["json", "msgpack"]


@app.task(name="wapp.add")
def add(x, y):
    return x + y


@app.task(name="wapp.fail")
def fail():
    raise ValueError("boom", 42)


if __name__ == "__main__":
    if sys.argv[1] == "declare":
        with app.connection_for_write() as connection:
            app.amqp.queues["celery"].bind(connection.default_channel).declare()
    else:
        print(add.delay(2, 3).get(timeout=15))
        try:
            fail.delay().get(timeout=15)
        except ValueError as error:
            print(error.args)
        for options in json.loads(sys.argv[2]):
            print(add.apply_async(("ää", "x"), **options).get(timeout=15))
