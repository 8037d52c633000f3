"""Which pool a worker's options ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import ConfigurationError
from celeriac.worker.executors.process import ProcessPool
from celeriac.worker.executors.solo import SoloPool
from celeriac.worker.executors.thread import ThreadPool

if TYPE_CHECKING:
    from celeriac.app import App
    from celeriac.worker.executors.base import Pool, PoolCalls
    from celeriac.worker.options import WorkerOptions


def choose_pool(app: App, options: WorkerOptions, calls: PoolCalls) -> Pool:
    """Return the pool, not started.

    Raises:
        ConfigurationError: child processes could not find the App, or an option has no meaning in this pool.
    """
    if options.pool == "thread":
        return ThreadPool(app, options.pool_options, calls)
    if options.pool == "solo":
        return SoloPool(app, options.pool_options, calls)
    locator = app.locator
    if locator is None:
        raise ConfigurationError(
            "an App made in a REPL, a notebook or from standard input cannot be found by child processes: put it into a "
            "file, or say --pool thread"
        )
    return ProcessPool(locator, options.pool_options, calls, preload=options.preload)
