"""Many tasks at once: confirmed by the broker together, instead of one after the other.

Run it: python bulk.py.
"""

from celeriac import App

app = App(broker="memory://")


@app.task
def square(number: int) -> int:
    return number * number


@app.task
def word(text: str) -> str:
    return text.upper()


if __name__ == "__main__":
    # one task, many arguments; returns when every one is confirmed
    squares = square.delay_many((number,) for number in range(1000))

    # different tasks; published when the block is left, discarded if it raises
    with app.batch():
        greeting = [word.delay("hello"), word.delay("world")]

    with app.run_worker(concurrency=4):
        print("sum of squares:", sum(result.get(timeout=10) for result in squares))
        print("words:", *(result.get(timeout=10) for result in greeting))
