"""From the start of a worker's command to the end of its first task, which waits for it in the queue.

Figures: ``seconds``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.model import Contender, Figures


@dataclass(frozen=True, slots=True)
class Start:
    """Start a worker."""

    def quick(self) -> Start:
        """Return itself: it is quick."""
        return self

    def __call__(self, bench: Bench, contender: Contender) -> Figures:
        """Measure once."""
        with bench.stage(contender) as stage:
            stage.send("noop", 1, "one")
            stage.expected = 1
            began = stage.start()
            return {"seconds": stage.wait().last - began}
