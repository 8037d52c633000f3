"""The solo pool: ``def`` tasks run one at a time on a thread of the caller's own, usually the main one.

The worker's loop then lives in another thread, so that heartbeats go on while a task runs:

    pool = SoloPool(app, options, calls)
    ...                     # elsewhere, on the worker's loop: await pool.start(), and in the end await pool.stop(grace)
    pool.run_forever()      # here: returns when the pool is stopped
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import ConfigurationError
from celeriac.worker.executors.thread import ThreadPool

if TYPE_CHECKING:
    from celeriac.app import App
    from celeriac.worker.executors.base import PoolCalls, PoolOptions


class SoloPool(ThreadPool):
    """A thread pool of one thread, which the caller brings."""

    def __init__(self, app: App, options: PoolOptions, calls: PoolCalls) -> None:
        """Describe the pool; as `ThreadPool`.

        Raises:
            ConfigurationError: more than one executor is asked for.
        """
        super().__init__(app, options, calls)
        if options.concurrency != 1:
            raise ConfigurationError(f"the solo pool runs one task at a time, not {options.concurrency}")

    def run_forever(self) -> None:
        """Run ``def`` tasks on this thread, once the pool is started, until it is stopped."""
        self.work()

    def _start_threads(self) -> None:
        """Start none: `run_forever` is the thread."""
