"""Arguments, results and functions by value: ``application/x-cloudpickle``, signed, where it is opted in.

Needs cloudpickle (``celeriac[cloudpickle]``) once it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.codec import Codec


@hookimpl
def celeriac_serializers() -> Mapping[str, Callable[[], Codec]]:
    """Offer ``application/x-cloudpickle``."""
    return {"application/x-cloudpickle": _codec}


def _codec() -> Codec:
    from celeriac_cloudpickle.codec import CloudpickleCodec  # noqa: PLC0415 - the driver is imported when it is used

    return CloudpickleCodec()
