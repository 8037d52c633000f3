"""Mistakes that a type checker must find: on each line that says so, and on no other."""

from __future__ import annotations

from typing import Any

from celeriac import App, Task

app = App("shop", broker="memory://")


@app.task
def add(x: int, y: int = 0) -> float:
    return x + y


@app.task(bind=True)
async def fetch(self: Task[..., Any], url: str) -> bytes:
    return url.encode()


add("1")  # wrong
add.delay()  # wrong
add.delay("1")  # wrong
add.delay(1, 2, 3)  # wrong
add.delay(1, z=3)  # wrong
add.options(queue="x").delay("1")  # wrong
add.delay_many(1)  # wrong
add.delay_many([1])  # wrong
number: int = add.delay(1).get()  # wrong
fetch.delay()  # wrong
fetch.delay(add, "u")  # wrong
text: str = fetch.delay("u").get()  # wrong
later: bytes = fetch("u")  # wrong


async def coroutine() -> None:
    await add.adelay("1")  # wrong
    await add.delay(1).aget().nothing  # wrong
    await fetch.adelay(1)  # wrong
