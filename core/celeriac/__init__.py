"""A distributed task queue: brokers as plugins, nothing lost, Celery's own wire protocol."""

from celeriac.app import App
from celeriac.result import AsyncResult
from celeriac.routing import Route
from celeriac.task import Request, Task, current_task
from celeriac.topology import Binding, Exchange, Queue

__all__ = [
    "App",
    "AsyncResult",
    "Binding",
    "Exchange",
    "Queue",
    "Request",
    "Route",
    "Task",
    "current_task",
]
__version__ = "0.1.0"
