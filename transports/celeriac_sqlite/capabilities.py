"""What SQLite does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac.transport import Capabilities

if TYPE_CHECKING:
    from celeriac.topology import Queue

MAX_DELAY = timedelta(days=100 * 365)
DELAY_RESOLUTION = timedelta(seconds=0.3)  # the look at data_version, should a ring be lost
RENEWALS = 3  # in the time of one lease


def capabilities(queue: Queue, lease: timedelta) -> Capabilities:
    """Return what holds for ``queue``: everything."""
    return Capabilities(
        priority_levels=queue.priorities,
        max_delay=MAX_DELAY,
        delay_resolution=DELAY_RESOLUTION,
        lease=lease,
        renew_every=lease / RENEWALS,
        exact_delivery_count=True,
        fenced_settle=True,
        atomic_move=True,
        shared_prefetch=True,
        cross_process=True,
        revocations=True,
        peek=True,
        pause=True,
    )
