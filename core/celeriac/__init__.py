"""A distributed task queue: brokers as plugins, nothing lost, Celery's own wire protocol."""

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
