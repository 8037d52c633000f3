"""Where chance comes from: for each who draws a stream of its own, so that one more draw here changes nothing there."""

from __future__ import annotations

from random import Random


def stream(seed: int, who: str) -> Random:
    """Return the stream of ``who`` in the simulation of ``seed``, the same on every machine."""
    return Random(f"{seed}/{who}")  # noqa: S311 - a simulation wants to be foreseen
