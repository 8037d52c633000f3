"""What Redis does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac.errors import Unsupported
from celeriac.transport import Capabilities

if TYPE_CHECKING:
    from celeriac.topology import Queue
    from celeriac_redis.options import Options

MAX_DELAY = timedelta(days=100 * 365)
DELAY_RESOLUTION = timedelta(seconds=0.3)
RENEWALS = 3  # in the time of one lease


def capabilities(queue: Queue, options: Options) -> Capabilities:
    """Return what holds for ``queue``: everything, but that in a fleet nobody keeps our priorities."""
    lease = timedelta(seconds=options.lease)
    return Capabilities(
        priority_levels=queue.priorities if options.fleet is None else 1,
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


def refuse_priorities(queue: Queue, options: Options) -> None:
    """Raise `Unsupported` for priorities on a queue that is shared with Celery, whose workers do not know ours."""
    if options.fleet is not None and queue.priorities > 1:
        raise Unsupported(
            f"queue {queue.name!r} is shared with Celery's workers, which would never look at our priorities; declare "
            f"it without priorities={queue.priorities}"
        )
