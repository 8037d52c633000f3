"""The hooks of a celeriac plugin, for pluggy: some register things, the others are told what happens.

An installed distribution names its module in the entry-point group ``celeriac``. That module imports no driver: the
factories it returns do, so that one missing driver does not stop the other plugins. `App.plugins.register` plugs an
object into one App. An implementation takes those of the arguments that it wants, by their names.

pluggy stands on no message's path: what observes is resolved once, when a worker is made, and then called as it is.
What it raises is logged. It is called where the thing happens, often on a loop, and must not block.
``docs/reference/plugins.md`` tells more, and has an example of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from celeriac.app import App
    from celeriac.codec import Codec
    from celeriac.events import Finished, Received, Refused, Settled, Started, Unsuccessful
    from celeriac.middleware import Middleware
    from celeriac.results import ResultStore
    from celeriac.transport import Transport

hookspec = pluggy.HookspecMarker("celeriac")
hookimpl = pluggy.HookimplMarker("celeriac")


@hookspec
def celeriac_transports() -> Mapping[str, Callable[[], type[Transport]]]:  # type: ignore[empty-body]
    """Return URL schemes, each with a function that imports and returns its `Transport` class."""


@hookspec
def celeriac_result_stores() -> Mapping[str, Callable[[], type[ResultStore]]]:  # type: ignore[empty-body]
    """Return URL schemes, each with a function that imports and returns its `ResultStore` class."""


@hookspec
def celeriac_serializers() -> Mapping[str, Callable[[], Codec]]:  # type: ignore[empty-body]
    """Return content types, each with a function that imports its driver and returns the `Codec`.

    Asked when a codec is looked for; a plugin that raises is told of, and harms no other.
    """


@hookspec
def celeriac_middleware(app: App) -> Iterable[Middleware]:  # type: ignore[empty-body]
    """Return what stands around every publish and run of ``app``, outside of the App's own middleware.

    Asked once a process, when the App first publishes or runs; an error is the App's.
    """


@hookspec
def celeriac_setup_logging(app: App) -> None:
    """Set up the log of a process of a worker: of its own, and of each in which tasks run.

    Called where the command sets up logging, after it has done so: the root logger has a handler named ``celeriac``.
    """


@hookspec
def celeriac_worker_started(app: App, node: str) -> None:
    """Hear that the worker named ``node`` consumes. Called on its loop."""


@hookspec
def celeriac_worker_stopped(app: App, node: str) -> None:
    """Hear that the worker named ``node`` has ended, in order or not, and has closed its connection."""


@hookspec
def celeriac_executor_started(app: App) -> None:
    """Hear, in the process in which tasks run, that they are about to: before the App's lifespan is entered."""


@hookspec
def celeriac_executor_stopped(app: App) -> None:
    """Hear, in the process in which tasks ran, that no more do: after the lifespan is left. Not where it is killed."""


@hookspec
def celeriac_task_received(event: Received) -> None:
    """Hear that a message was delivered and may run. As all below, called on the worker's loop, in its own process."""


@hookspec
def celeriac_task_refused(event: Refused) -> None:
    """Hear that a message was delivered and does not run here and now."""


@hookspec
def celeriac_task_started(event: Started) -> None:
    """Hear that an executor has begun a task."""


@hookspec
def celeriac_task_finished(event: Finished) -> None:
    """Hear that a task has left its executor, however it ended."""


@hookspec
def celeriac_task_unsuccessful(event: Unsuccessful) -> None:
    """Hear that a task has left its executor without a result; it is told as finished too."""


@hookspec
def celeriac_task_settled(event: Settled) -> None:
    """Hear that a task's result is stored and the broker was told."""
