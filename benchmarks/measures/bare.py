"""No queue at all: so many processes, each with its share of the tasks, as fast as this machine runs them.

Figures: ``rate``, tasks a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.environments import ROOT

if TYPE_CHECKING:
    from benchmarks.bench import Bench
    from benchmarks.model import Contender, Figures

QUICK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """Run ``tasks`` of a kind in ``processes`` at a time."""

    kind: str
    tasks: int
    processes: int = 2

    def quick(self) -> Bare:
        """Run few."""
        return replace(self, tasks=min(self.tasks, QUICK))

    def __call__(self, bench: Bench, contender: Contender) -> Figures:
        """Measure once."""
        share = self.tasks // self.processes
        with bench.stage(contender) as stage:
            environment = {
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "BENCH_SPINS": str(bench.spins),
                "BENCH_TICKS": str(stage.folder / "ticks"),
            }
            command = [sys.executable, "-m", "benchmarks.systems.bare_processes", self.kind, str(share)]
            started = [
                subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                for _ in range(self.processes)
            ]
            for process in started:  # all of them, before any is waited for
                if process.stdin is not None:
                    process.stdin.write("go\n")
                    process.stdin.flush()
            told = [json.loads(process.communicate()[0]) for process in started]
        elapsed = max(each["ended"] for each in told) - min(each["began"] for each in told)
        return {"rate": share * self.processes / elapsed}
