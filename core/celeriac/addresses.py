"""From the settings to the URLs that a connection is made from."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from celeriac.locator import default_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from celeriac.settings import Settings

logger = logging.getLogger("celeriac")


def with_addresses(settings: Settings, defined: Mapping[str, Any]) -> Settings:
    """Return settings with the broker that they mean, told which fleet its queues are shared with.

    Args:
        settings: of an App.
        defined: the names of the module that constructs it: where no broker is named, it is a file near that module.
    """
    broker, backend, fleet = settings.broker, settings.backend, settings.fleet
    if not broker:
        path = default_file(defined)
        logger.info("no broker was given; using the SQLite file %s", path)
        broker = (file_broker(path),)
    if fleet is not None:
        ours = tuple(url.partition("://")[0] + "://" for url in broker)  # a store of the same plugin knows it, too
        backend = tuple(_for_fleet(url, fleet) if url.startswith(ours) else url for url in backend)
        broker = tuple(_for_fleet(url, fleet) for url in broker)
    return replace(settings, broker=broker, backend=backend)


def file_broker(path: Path) -> str:
    """Return the URL of the broker that needs no server, in the file ``path``."""
    return f"sqlite:///{quote(str(path))}"


def _for_fleet(url: str, fleet: str) -> str:
    """Tell the transport whose queues it shares, by the URL option that those which can share have."""
    return f"{url}{'&' if '?' in url else '?'}fleet={fleet}"
