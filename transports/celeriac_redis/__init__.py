"""Redis and Valkey, in kombu's layout: the transport and the result store. Needs redis-py (``celeriac[redis]``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.results import ResultStore
    from celeriac.transport import Transport

SCHEMES = ("redis", "rediss", "redis+unix", "sentinel")


@hookimpl
def celeriac_transports() -> Mapping[str, Callable[[], type[Transport]]]:
    """Return the transport for a server by TCP, TLS or a Unix socket, and for a master that sentinels know."""
    return dict.fromkeys(SCHEMES, _transport)


@hookimpl
def celeriac_result_stores() -> Mapping[str, Callable[[], type[ResultStore]]]:
    """Return the result store, which has the same addresses."""
    return dict.fromkeys(SCHEMES, _store)


def _transport() -> type[Transport]:
    from celeriac_redis.transport import RedisTransport  # noqa: PLC0415 - the driver is imported when it is used

    return RedisTransport


def _store() -> type[ResultStore]:
    from celeriac_redis.store import RedisStore  # noqa: PLC0415 - the driver is imported when it is used

    return RedisStore
