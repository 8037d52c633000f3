"""A distributed task queue: brokers as plugins, nothing lost, Celery's own wire protocol."""

__version__ = "0.1.0"
