"""A distributed task queue: brokers as plugins, nothing lost, Celery's own wire protocol."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celeriac.app import App
    from celeriac.errors import SoftTimeLimitExceeded, TimeLimitExceeded
    from celeriac.flow import Ignore, Reject, Retry, Snooze
    from celeriac.request import Request, current_task, progress
    from celeriac.result import AsyncResult
    from celeriac.routing import Route
    from celeriac.task import Task
    from celeriac.topology import Binding, Exchange, Queue

__all__ = [
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
__version__ = "0.1.0"

_HOMES = {
    "App": "app",
    "AsyncResult": "result",
    "Binding": "topology",
    "Exchange": "topology",
    "Ignore": "flow",
    "Queue": "topology",
    "Reject": "flow",
    "Request": "request",
    "Retry": "flow",
    "Route": "routing",
    "Snooze": "flow",
    "SoftTimeLimitExceeded": "errors",
    "Task": "task",
    "TimeLimitExceeded": "errors",
    "current_task": "request",
    "progress": "request",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: `celeriac health` must answer fast, and needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
