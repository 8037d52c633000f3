"""SQLite as broker and result store: one file, any number of processes of one machine, nothing to install."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.results import ResultStore
    from celeriac.transport import Transport

SCHEME = "sqlite"


@hookimpl
def celeriac_transports() -> Mapping[str, Callable[[], type[Transport]]]:
    """Register ``sqlite:///file.db`` as a broker."""
    return {SCHEME: _transport}


@hookimpl
def celeriac_result_stores() -> Mapping[str, Callable[[], type[ResultStore]]]:
    """Register ``sqlite:///file.db`` as a result store."""
    return {SCHEME: _store}


def _transport() -> type[Transport]:
    from celeriac_sqlite.transport import SqliteTransport  # noqa: PLC0415  # an entry module imports no driver

    return SqliteTransport


def _store() -> type[ResultStore]:
    from celeriac_sqlite.store import SqliteResultStore  # noqa: PLC0415  # an entry module imports no driver

    return SqliteResultStore
