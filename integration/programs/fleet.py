"""Our side of a fleet that is shared with Celery."""

from __future__ import annotations

import os

from celeriac import App

app = App("fleet", broker=os.environ["SUMS_BROKER"], fleet="celery")


@app.task(name="wapp.add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="wapp.fail")
def fail() -> None:
    raise ValueError("boom", 42)
