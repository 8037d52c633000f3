"""Sending: ``python -m benchmarks.systems.NAME WAY KIND N`` sends N tasks of a kind in one of the system's ways.

Prints one line of JSON: the seconds and the processor seconds that it took, and what the way returned, if anything:
a list of seconds, one a round trip.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Way = Callable[[str, int], Any]

WARM = 20


def produce(
    ways: Mapping[str, Way], *, opened: Callable[[], Any] | None = None, closed: Callable[[], Any] | None = None
) -> None:
    """Do what the command line says. Ways may be coroutine functions: then all run on one loop.

    Args:
        ways: by name; ``one`` sends one task a call and is called once before the clock starts: it connects, declares.
        opened: called first.
        closed: called last.
    """
    name, kind, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with asyncio.Runner() as runner:

        def call(function: Callable[..., Any] | None, *arguments: Any) -> Any:
            answer = function(*arguments) if function is not None else None
            return runner.run(answer) if inspect.iscoroutine(answer) else answer

        call(opened)
        if name == "round_trips":
            call(ways[name], kind, WARM)
        else:
            call(ways["one"], kind, 1)
        begin, cpu = time.perf_counter(), time.process_time()
        latencies = call(ways[name], kind, n)
        told = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu, "latencies": latencies}
        print(json.dumps(told), flush=True)
        call(closed)


def timed(trip: Callable[[int], Any], n: int) -> list[float]:
    """Return the seconds of each of ``n`` calls of ``trip``, which gives back the number it is given."""
    seconds = []
    for number in range(n):
        begin = time.perf_counter()
        answer = trip(number)
        seconds.append(time.perf_counter() - begin)
        if answer != number:
            raise ValueError(f"asked for {number}, got {answer!r}")
    return seconds
