"""What a ``memory://`` URL says, and what a queue of this broker can do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from celeriac.errors import ConfigurationError
from celeriac.transport import Capabilities
from celeriac.transport_helpers import masked_all, url_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.topology import Queue

DEFAULT_LEASE = timedelta(seconds=30)
LONGEST_DELAY = timedelta(days=365_000)


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL: the broker's name, and how long a delivery stays with its consumer unless extended."""

    name: str
    lease: timedelta = DEFAULT_LEASE


def parse(urls: Sequence[str]) -> Address:
    """Return what ``urls`` say: ``memory://name?lease=seconds``.

    Raises:
        ConfigurationError: no URL or several, or an option that is unknown or has no meaning.
    """
    if len(urls) != 1:
        raise ConfigurationError(f"a memory broker has one address, not {len(urls)}: {masked_all(urls)}")
    options = url_options(urls[0], {"lease": _seconds})
    parts = urlsplit(urls[0])
    return Address(parts.netloc + parts.path, options.get("lease", DEFAULT_LEASE))


def capabilities(queue: Queue, lease: timedelta = DEFAULT_LEASE) -> Capabilities:
    """Return what holds for ``queue``."""
    return Capabilities(
        priority_levels=queue.priorities,
        max_delay=LONGEST_DELAY,
        delay_resolution=timedelta(milliseconds=50),
        lease=lease,
        renew_every=lease / 3,
        exact_delivery_count=True,
        fenced_settle=True,
        atomic_move=True,
        shared_prefetch=True,
        cross_process=False,
        revocations=True,
        peek=True,
        pause=True,
    )


def _seconds(text: str) -> timedelta:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError("give seconds above 0")
    return timedelta(seconds=seconds)
