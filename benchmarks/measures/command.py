"""How long a command takes, from nothing: the best of several runs, which noise cannot make better.

Figures: ``seconds``.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.environments import python_of

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.model import Contender, Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Run the contender's ``worker`` command, and, as the part that is nobody's, a Python that does nothing.

    Attributes:
        times: how often each.
    """

    times: int = 10

    def quick(self) -> Command:
        """Run it twice."""
        return replace(self, times=2)

    def __call__(self, bench: Bench, contender: Contender) -> Figures:
        """Measure once."""
        python = str(python_of(contender.peer))
        del bench  # nothing of it is needed
        whole = min(_seconds([python, *contender.worker]) for _ in range(self.times))
        bare = min(_seconds([python, "-c", "pass"]) for _ in range(self.times))
        return {"seconds": whole, "above_python": whole - bare}


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")
    return time.perf_counter() - begin
