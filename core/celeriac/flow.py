"""What a task may raise to say what is to become of it, other than failing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Delay = float | timedelta
LONGEST_SECONDS = 100 * 365 * 86_400.0


class TaskFlow(Exception):  # noqa: N818 - these are wishes, not errors
    """A wish of a running task."""


class Retry(TaskFlow):
    """Run it again as another attempt: ``raise Retry(countdown=60)``; `Task.retry` builds and raises one.

    Attributes:
        exc: why; shown in the history, and raised to the caller once the attempts are exhausted.
        countdown: seconds until the next attempt; ``None`` is as the task's options say.
        args: other positional arguments for the next attempt; ``None`` keeps them.
        kwargs: other keyword arguments; ``None`` keeps them.
        max_retries: another limit for this task; ``None`` is as the task's options say.
    """

    def __init__(
        self,
        exc: BaseException | None = None,
        *,
        countdown: Delay | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        max_retries: int | None = None,
    ) -> None:
        """Ask for another attempt."""
        super().__init__(exc)
        self.exc = exc
        self.countdown = countdown
        self.args_again = args
        self.kwargs_again = kwargs
        self.max_retries = max_retries

    def __str__(self) -> str:
        """Say why, if that is known."""
        return f"retry: {self.exc!r}" if self.exc is not None else "retry"


class Ignore(TaskFlow):
    """Forget it: acknowledged, and no result is stored."""


class Reject(TaskFlow):
    """Do not count it as run: set it aside as a dead letter, or give it back to its queue.

    Attributes:
        reason: for people, kept with the dead letter.
        requeue: give it back, uncounted, instead.
    """

    def __init__(self, reason: str = "", *, requeue: bool = False) -> None:
        """Refuse the task."""
        super().__init__(reason)
        self.reason = reason
        self.requeue = requeue


class Snooze(TaskFlow):
    """Run it later, and do not count this attempt: ``raise Snooze(30)``.

    Attributes:
        delay: seconds until it is run again.
    """

    def __init__(self, delay: Delay) -> None:
        """Ask to be run again after ``delay``."""
        super().__init__(delay)
        self.delay = delay


def seconds_of(delay: Delay) -> float:
    """Return a delay in seconds, at least 0.

    Raises:
        ValueError: it is no number, or longer than a hundred years.
    """
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    if not seconds <= LONGEST_SECONDS:  # nor NaN
        raise ValueError(f"a delay of {seconds:g} s: give 0 to {LONGEST_SECONDS:g}, which is a hundred years")
    return max(0.0, seconds)
