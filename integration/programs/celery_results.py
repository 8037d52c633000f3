"""A real Celery with its Redis result backend; what it is told stands in the variable CELERY_SIDE."""

import json
import os
import sys

from celery import Celery

told = json.loads(os.environ["CELERY_SIDE"])
app = Celery("celery_results", broker=told["broker"], backend=told["backend"])
app.conf.update(
    result_backend_transport_options={"global_keyprefix": told["prefix"]},
    worker_hijack_root_logger=False,
    **told["settings"],
)


@app.task(name="wapp.add")
def add(x, y):
    return x + y


@app.task(name="wapp.fail")
def fail():
    raise ValueError("boom", 42)


@app.task(name="wapp.progress", bind=True)
def progress(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    return "over"


@app.task(name="wapp.retry", bind=True, max_retries=2)
def retry(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


def seen(task_id, state, result):
    error = isinstance(result, BaseException)
    return task_id, [state, [type(result).__name__, list(result.args)] if error else result]


if __name__ == "__main__":
    what, *ids = sys.argv[1:]
    if what == "read":
        results = [app.AsyncResult(one) for one in ids]
        print(json.dumps(dict(seen(one.id, one.state, one.result) for one in results)))
    elif what == "wait":
        waited = [(one, app.AsyncResult(one)) for one in ids]
        got = [(one, result.get(timeout=20, propagate=False), result.state) for one, result in waited]
        print(json.dumps(dict(seen(one, state, value) for one, value, state in got)))
    else:  # send: the name and the arguments of a task, with the id that the test knows
        for one in ids:
            task_id, name, *arguments = json.loads(one)
            app.send_task(name, arguments, task_id=task_id)
