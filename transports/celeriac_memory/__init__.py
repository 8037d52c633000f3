"""The broker and the result store that live inside the process: ``memory://name``.

For tests, for scripts, and as the shortest complete example of both ports. Nothing here outlives the process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.results import ResultStore
    from celeriac.transport import Transport


def _transport() -> type[Transport]:
    from celeriac_memory.transport import MemoryTransport  # noqa: PLC0415 - loaded when an App asks for it

    return MemoryTransport


def _store() -> type[ResultStore]:
    from celeriac_memory.store import MemoryResultStore  # noqa: PLC0415 - loaded when an App asks for it

    return MemoryResultStore


@hookimpl
def celeriac_transports() -> Mapping[str, Callable[[], type[Transport]]]:
    """Offer the scheme ``memory``."""
    return {"memory": _transport}


@hookimpl
def celeriac_result_stores() -> Mapping[str, Callable[[], type[ResultStore]]]:
    """Offer the scheme ``memory``."""
    return {"memory": _store}
