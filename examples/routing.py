"""One topic exchange, two queues: what is published by key reaches every queue whose pattern takes it.

Run it: python routing.py. Broker and worker live in this process; with another URL and a worker elsewhere the
declarations stay as they are.
"""

from queue import SimpleQueue

from celeriac import App, Exchange, Queue, Route, current_task

EVENTS = Exchange("events", type="topic")

app = App(
    broker="memory://",
    queues=[
        Queue("orders", exchange=EVENTS, routing_key="order.*"),
        Queue("audit", exchange=EVENTS, routing_key="#"),
    ],
    routes={"*.order_placed": Route(EVENTS, "order.placed")},
)
seen: SimpleQueue[str] = SimpleQueue()


@app.task
def order_placed(number: int) -> None:
    seen.put(f"{where()}: order {number} was placed")


@app.task
def note(text: str) -> None:
    seen.put(f"{where()}: {text}")


def where() -> str:
    request = current_task()
    return f"{request.queue} by {request.routing_key}" if request else "called directly"


if __name__ == "__main__":
    with app.run_worker(concurrency=1):
        order_placed.delay(17)  # by the App's route, to both queues
        note.options(exchange="events", routing_key="order.paid").delay("paid by card")  # to both
        note.options(exchange="events", routing_key="customer.left").delay("good bye")  # to the audit alone
        for _ in range(5):
            print(seen.get(timeout=10))
