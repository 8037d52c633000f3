"""Filling a queue: ``one N`` sends one by one, ``bulk N`` as the system's bulk call does; prints the seconds taken."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def produce(argv: list[str], one: Callable[[], Any], bulk: Callable[[int], None] | None) -> None:
    """Do what the command line says."""
    how, n = argv[1], int(argv[2])
    one()  # connects, declares
    begin = time.perf_counter()
    if how == "bulk" and bulk is not None:
        bulk(n)
    else:
        for _ in range(n):
            one()
    print(time.perf_counter() - begin, flush=True)
