"""MessagePack: ``application/x-msgpack``, as Celery's. Needs msgpack (``celeriac[msgpack]``) once it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.codec import Codec


@hookimpl
def celeriac_serializers() -> Mapping[str, Callable[[], Codec]]:
    """Offer ``application/x-msgpack``."""
    return {"application/x-msgpack": _codec}


def _codec() -> Codec:
    from celeriac_msgpack.codec import MsgpackCodec  # noqa: PLC0415 - the driver is imported when it is used

    return MsgpackCodec()
