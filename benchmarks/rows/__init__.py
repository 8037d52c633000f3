"""The benchmark's rows: one file a row, in the order in which they are measured and shown."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.model import Row

NAMES = (
    "drain_rabbitmq",
    "drain_ignored",
    "drain_redis",
    "drain_sqlite",
    "sleeps",
    "sleeps_rabbitmq",
    "processor",
    "send_confirmed",
    "send_deferred",
    "send_bulk",
    "send_threads",
    "round_trip",
    "start",
    "idle",
    "idle_large",
    "delayed",
    "commands",
    "scaling_queued",
    "scaling_executors",
    "scaling_queues",
)


def rows(names: tuple[str, ...] = NAMES) -> dict[str, Row]:
    """Return the rows by name."""
    return {name: import_module(f"benchmarks.rows.{name}").ROW for name in names}
