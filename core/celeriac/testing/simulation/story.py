"""What happened in one simulation, line by line, and what should not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.testing.simulation.loop import running_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.testing.simulation.loop import SimulatedLoop


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened: when, in which process, to which task if it was to one."""

    at: float
    process: str
    task_id: str | None
    text: str

    def __str__(self) -> str:
        """Return the line as people read it."""
        return f"{self.at:9.4f} {self.process:<10} {self.task_id or '':<14} {self.text}"


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept: which, how, and whose task it was if it was one's."""

    promise: str
    detail: str
    task_id: str | None = None

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"{self.promise}: {self.detail}" + (f" ({self.task_id})" if self.task_id else "")


class Story:
    """The log of a simulation.

    Attributes:
        lines: all that was told.
        violations: every promise that was seen broken.
    """

    def __init__(self, loop: SimulatedLoop) -> None:
        """Begin with nothing told; the time is that of ``loop``."""
        self.lines: list[Line] = []
        self.violations: list[Violation] = []
        self._loop = loop

    def closed(self) -> Story:
        """Return the story as it is told by now."""
        told = Story(self._loop)
        told.lines, told.violations = list(self.lines), list(self.violations)
        return told

    def tell(self, text: str, task_id: str | None = None, process: str | None = None) -> None:
        """Add a line; without ``process`` it is told of the one that runs."""
        self.lines.append(Line(self._loop.time(), process or running_name(), task_id, text))

    def broken(self, promise: str, detail: str, task_id: str | None = None) -> None:
        """Note a promise that was not kept."""
        self.violations.append(Violation(promise, detail, task_id))
        self.tell(f"BROKEN {promise}: {detail}", task_id)

    def of(self, task_id: str) -> Sequence[Line]:
        """Return what concerns one task: its own lines, and what befell processes while it was about."""
        own = [line.at for line in self.lines if line.task_id == task_id]
        if not own:
            return self.lines
        return [
            line
            for line in self.lines
            if line.task_id == task_id or (line.task_id is None and own[0] <= line.at <= own[-1])
        ]
