"""A celeriac transport and result store on NATS JetStream: ``nats://user:password@host:4222/namespace``.

This module is what the entry point names. It imports no driver, so that celeriac can list the plugin where nats-py is
missing, and say what to install.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.results import ResultStore
    from celeriac.transport import Transport


def _transport() -> type[Transport]:
    from celeriac_nats.transport import NatsTransport  # noqa: PLC0415 - loaded when an App asks for it

    return NatsTransport


def _store() -> type[ResultStore]:
    from celeriac_nats.store import NatsResultStore  # noqa: PLC0415 - as above

    return NatsResultStore


@hookimpl
def celeriac_transports() -> Mapping[str, Callable[[], type[Transport]]]:
    """Offer the schemes ``nats`` and ``nats+tls``."""
    return {"nats": _transport, "nats+tls": _transport}


@hookimpl
def celeriac_result_stores() -> Mapping[str, Callable[[], type[ResultStore]]]:
    """Offer the same schemes."""
    return {"nats": _store, "nats+tls": _store}
