"""The shortest App: run it with ``celeriac -A tasks worker``, and call it with ``python send.py``."""

from celeriac import App

app = App()  # without a URL: a SQLite file, celeriac.db, beside this module


@app.task
def add(x: int, y: int) -> int:
    """Return the sum."""
    return x + y
