"""Our side of a fleet that is shared with Celery."""

from __future__ import annotations

import os

from celeriac import App

app = App("fleet", broker=os.environ["SUMS_BROKER"], fleet="celery", accept_content=["json", "msgpack"])


@app.task(name="wapp.add")
def add(x: int | str, y: int | str) -> int | str:
    return x + y  # type: ignore[operator] # both are of one type


@app.task(name="wapp.fail")
def fail() -> None:
    raise ValueError("boom", 42)
