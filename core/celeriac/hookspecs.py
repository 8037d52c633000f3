"""The hooks of a celeriac plugin, for pluggy: they register things; none stands on the path of a message.

An installed distribution names its module in the entry-point group ``celeriac``. That module imports no driver: the
factories it returns do, so that one missing driver does not stop the other plugins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.codec import Codec
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
    """Return content types, each with a function that imports its driver and returns the `Codec`."""
