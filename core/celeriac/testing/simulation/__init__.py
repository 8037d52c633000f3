"""Whole fleets under a virtual clock: `simulate(seed)` runs one, and says which promises it saw broken.

The worker, the publisher, the client and the broker inside the process are the real ones; simulated are the time, the
order in which processes run, the executors, and the way to the broker. See ``docs/explanation/simulation.md``.
"""

from __future__ import annotations

from celeriac.testing.simulation.seeds import Report, simulate
from celeriac.testing.simulation.story import Story, Violation

__all__ = ["Report", "Story", "Violation", "simulate"]
