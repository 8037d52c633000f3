"""From a seed to its report."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celeriac.testing.simulation.chance import stream
from celeriac.testing.simulation.loop import SimulatedLoop, SimulationError
from celeriac.testing.simulation.story import Story
from celeriac.testing.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from celeriac.testing.simulation.story import Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one seed showed.

    Attributes:
        seed: its number.
        violations: the promises that were not kept; none is success.
        story: all that happened.
        tasks: how many were planned.
        runs: how many runs began.
        steps: how many callbacks were run.
        seconds: how much virtual time passed.
    """

    seed: int
    violations: Sequence[Violation]
    story: Story
    tasks: int
    runs: int
    steps: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Every promise was kept."""
        return not self.violations


def simulate(seed: int) -> Report:
    """Run the simulation of ``seed``: with the same code always the same."""
    loop = SimulatedLoop(stream(seed, "order"))
    story = Story(loop)
    world = World(seed, loop, story)
    with _logging_to(story):
        try:
            loop.run_until_complete(world.run())
        except SimulationError as error:
            story.broken("nothing gets stuck", str(error))
        for unseen in loop.errors:
            story.broken("no error unseen", f"{unseen.get('message')}: {unseen.get('exception')!r}")
        plans = world.outside.runs.plans.values()
        report = Report(
            seed=seed,
            violations=tuple(story.violations),
            story=story.closed(),
            tasks=len(plans),
            runs=sum(plan.begun for plan in plans),
            steps=loop.steps,
            seconds=loop.time(),
        )
        world.end()
    loop.close()
    return report


@contextmanager
def _logging_to(story: Story) -> Iterator[None]:
    """Have what the fleet logs told in the story, and nowhere else."""
    logger, handler = logging.getLogger("celeriac"), _StoryHandler(story)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


class _StoryHandler(logging.Handler):
    """Tells log lines."""

    def __init__(self, story: Story) -> None:
        super().__init__(logging.WARNING)
        self._story = story

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a line."""
        self._story.tell(f"logged: {record.getMessage()}")
