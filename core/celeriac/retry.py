"""When a failed task is tried again, and how long after. Pure: chance and moments are passed in.

The names and defaults of the options are Celery's, where Celery has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError
from celeriac.flow import Delay, seconds_of

if TYPE_CHECKING:
    from random import Random

MOST_DOUBLINGS = 64
RetryPolicy = Callable[[BaseException, int], "Delay | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOptions:
    """A task's options about retries.

    Attributes:
        autoretry_for: exception classes that are tried again; none by default.
        dont_autoretry_for: of these, those that are not.
        max_retries: attempts after the first; ``None`` is no limit.
        default_retry_delay: seconds between attempts where there is no backoff.
        retry_backoff: ``True``, or the seconds that the first delay has: it doubles with each attempt.
        retry_backoff_max: seconds that a delay has at most.
        retry_jitter: draw the delay between 0 and the computed one, so that failures spread out.
        retry_for: seconds since the first attempt after which it is not tried again.
        retry_policy: called with the exception and the attempt (from 1); returns the seconds until the next one, or
            ``None`` to fail. Replaces the classes and the backoff, not the limits.
    """

    autoretry_for: tuple[type[BaseException], ...] = ()
    dont_autoretry_for: tuple[type[BaseException], ...] = ()
    max_retries: int | None = 3
    default_retry_delay: Delay = 180.0
    retry_backoff: bool | float = False
    retry_backoff_max: Delay = 600.0
    retry_jitter: bool = True
    retry_for: Delay | None = None
    retry_policy: RetryPolicy | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigurationError: a number that is negative or beyond a hundred years, classes that are no exceptions, or
                a policy that cannot be called.
        """
        if self.retry_policy is not None and not callable(self.retry_policy):
            raise ConfigurationError(
                f"retry_policy={self.retry_policy!r}: give a function of the exception and attempt"
            )
        for name in ("autoretry_for", "dont_autoretry_for"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("max_retries", "default_retry_delay", "retry_backoff", "retry_backoff_max", "retry_for"):
            value = getattr(self, name)
            if value is not None and not _is_positive(value):
                raise ConfigurationError(f"{name}={value!r}: use 0 or more, up to a hundred years of seconds")
        for name in ("autoretry_for", "dont_autoretry_for"):
            for kind in getattr(self, name):
                if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                    raise ConfigurationError(f"{name} holds {kind!r}, which is no exception class")

    def wants_retry(self, error: BaseException) -> bool:
        """Return whether the classes ask for another attempt."""
        return isinstance(error, self.autoretry_for) and not isinstance(error, self.dont_autoretry_for)

    def delay_after(self, error: BaseException, attempt: int, random: Random) -> float | None:
        """Return the seconds until the attempt after ``attempt``, or ``None`` if none is wanted.

        A policy that raises, or returns what is no delay, is logged, and the backoff is used.
        """
        if self.retry_policy is not None:
            try:
                wanted = self.retry_policy(error, attempt)
                return None if wanted is None else seconds_of(wanted)
            except Exception:
                import logging  # noqa: PLC0415 - who only declares tasks logs nothing

                logging.getLogger("celeriac.retry").exception(
                    "the retry policy %r failed; using the backoff", self.retry_policy
                )
                return self.backoff(attempt, random)
        return self.backoff(attempt, random) if self.wants_retry(error) else None

    def backoff(self, attempt: int, random: Random) -> float:
        """Return the seconds between ``attempt`` and the next."""
        if not self.retry_backoff:
            return seconds_of(self.default_retry_delay)
        first = 1.0 if self.retry_backoff is True else float(self.retry_backoff)
        longest = seconds_of(self.retry_backoff_max)
        delay = min(longest, first * 2.0 ** min(attempt - 1, MOST_DOUBLINGS))
        return random.uniform(0, delay) if self.retry_jitter else delay

    def is_exhausted(self, attempt: int, since_first: float, delay: float, max_retries: int | None) -> bool:
        """Return whether the attempt after ``attempt`` would be one too many, or come too late.

        Args:
            attempt: the one that failed, from 1.
            since_first: seconds since the first attempt failed.
            delay: seconds until the next.
            max_retries: another limit for this call; ``None`` is the task's own.
        """
        limit = self.max_retries if max_retries is None else max_retries
        if limit is not None and attempt > limit:
            return True
        return self.retry_for is not None and since_first + delay > seconds_of(self.retry_for)


def _is_positive(value: Any) -> bool:
    try:
        return not isinstance(value, str) and seconds_of(value) == (
            value.total_seconds() if hasattr(value, "total_seconds") else float(value)
        )
    except (TypeError, ValueError, OverflowError):
        return False
