"""What one worker is told: its queues, its name, and the worker settings with this worker's own words over them."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celeriac.errors import UnknownOption
from celeriac.settings import Settings
from celeriac.worker.executors.base import PoolOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from celeriac.app import App

WORKER_SETTINGS = (
    "concurrency",
    "pool",
    "threads",
    "coroutines",
    "max_tasks_per_child",
    "max_memory_per_child",
    "stall_timeout",
    "preload",
    "grace",
    "time_limit",
    "soft_time_limit",
    "soft_limits_only",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """One worker's options.

    Attributes:
        queues: the queues it consumes, by name.
        name: its node name, ``celeriac@host`` by default.
        pool: ``process``, ``thread`` or ``solo``.
        pool_options: how large the pool is.
        grace: seconds that running tasks have to finish when it is stopped.
        preload: import the app once, in the fork server.
        burst: end once its queues are drained.
        time_limit: the hard limit, in seconds, of tasks that do not say.
        soft_time_limit: their soft one.
        soft_limits_only: take tasks with a hard limit though the pool cannot enforce it.
    """

    queues: Sequence[str]
    name: str
    pool: str
    pool_options: PoolOptions
    grace: float
    preload: bool = False
    burst: bool = False
    time_limit: float | None = None
    soft_time_limit: float | None = None
    soft_limits_only: bool = False

    @classmethod
    def of(cls, app: App, given: Mapping[str, Any]) -> WorkerOptions:
        """Return the options of a worker for ``app``: what is ``given``, else the App's settings.

        Raises:
            UnknownOption: a name that is no worker option, with a did-you-mean.
        """
        known = ("queues", "name", "log", "burst", *WORKER_SETTINGS)
        for name in given:
            if name not in known:
                raise UnknownOption("worker option", name, known)
        own = {name: value for name, value in given.items() if value is not None and name in WORKER_SETTINGS}
        settings = Settings.resolve({**{each: getattr(app.conf, each) for each in WORKER_SETTINGS}, **own}, {})
        return cls(
            queues=tuple(given.get("queues") or (queue.name for queue in app.queues)),
            name=given.get("name") or f"celeriac@{socket.gethostname()}",
            pool=settings.pool,
            pool_options=PoolOptions(
                concurrency=settings.concurrency or (1 if settings.pool == "solo" else _processors()),
                threads=settings.threads,
                coroutines=settings.coroutines,
                max_tasks_per_child=settings.max_tasks_per_child,
                max_memory_per_child=settings.max_memory_per_child,
                stall_timeout=settings.stall_timeout,
                log=given.get("log"),
            ),
            grace=settings.grace,
            preload=settings.preload,
            burst=given.get("burst", False),
            time_limit=settings.time_limit,
            soft_time_limit=settings.soft_time_limit,
            soft_limits_only=settings.soft_limits_only,
        )


def _processors() -> int:
    """Return how many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
