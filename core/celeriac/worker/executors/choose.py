"""From the pool's name to the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.errors import ConfigurationError, did_you_mean
from celeriac.worker.executors.process import ProcessPool
from celeriac.worker.executors.solo import SoloPool
from celeriac.worker.executors.thread import ThreadPool

if TYPE_CHECKING:
    from celeriac.app import App
    from celeriac.worker.executors.base import Pool, PoolCalls
    from celeriac.worker.options import WorkerOptions

IN_PROCESS = {"thread": ThreadPool, "solo": SoloPool}


def choose_pool(app: App, options: WorkerOptions, calls: PoolCalls) -> Pool:
    """Return the pool that ``options`` name, not started.

    Raises:
        ConfigurationError: no such pool; or one of processes, and no other process could find the App; or an option
            that this pool cannot keep.
    """
    if options.pool in IN_PROCESS:
        return IN_PROCESS[options.pool](app, options.pool_options, calls)
    if options.pool != "process":
        known = ("process", *IN_PROCESS)
        raise ConfigurationError(
            f"no pool {options.pool!r}; there are {', '.join(known)}{did_you_mean(options.pool, known)}"
        )
    if app.locator is None:
        raise ConfigurationError(
            "this App was not defined in a file, so that no other process can import it; use --pool thread, or put it "
            "into a module"
        )
    return ProcessPool(app.locator, options.pool_options, calls, preload=options.preload)
