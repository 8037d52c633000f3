"""A distributed task queue: brokers as plugins, nothing lost, Celery's own wire protocol."""

from typing import TYPE_CHECKING

from celeriac.lazy import at_first_use

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

__getattr__ = at_first_use(__name__, _HOMES)  # `celeriac health` must answer fast, and needs none of them


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
