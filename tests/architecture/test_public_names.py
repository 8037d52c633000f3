"""What `import celeriac` gives: pinned, so that a name comes or goes only on purpose."""

from __future__ import annotations

from importlib.metadata import version

import celeriac

PUBLIC = [
    "App",
    "AsyncResult",
    "Binding",
    "Exchange",
    "Ignore",
    "Queue",
    "Reject",
    "Request",
    "Retry",
    "Route",
    "Snooze",
    "SoftTimeLimitExceeded",
    "Task",
    "TimeLimitExceeded",
    "current_task",
    "progress",
]


def test_the_public_names_are_these() -> None:
    assert celeriac.__all__ == PUBLIC


def test_each_is_there_and_documented() -> None:
    for name in PUBLIC:
        assert getattr(celeriac, name).__doc__


def test_the_version_is_the_distribution_s() -> None:
    assert celeriac.__version__ == version("celeriac")
