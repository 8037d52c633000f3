"""What Redis does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac.errors import Unsupported
from celeriac.transport import Capabilities
from celeriac_redis.layout import is_taken

if TYPE_CHECKING:
    from celeriac.topology import Queue
    from celeriac_redis.options import Options

MAX_DELAY = timedelta(days=100 * 365)
DELAY_RESOLUTION = timedelta(seconds=0.3)
RENEWALS = 3  # before what is held would be taken back


def capabilities(queue: Queue, options: Options) -> Capabilities:
    """Return what holds for ``queue``: everything, but that in a fleet nobody keeps our priorities.

    What is held is renewed in time for our lease and for kombu's restore, whichever comes sooner.
    """
    lease = timedelta(seconds=options.lease)
    shorter = timedelta(seconds=min(options.lease, options.visibility_timeout))
    return Capabilities(
        priority_levels=queue.priorities if options.fleet is None else 1,
        max_delay=MAX_DELAY,
        delay_resolution=DELAY_RESOLUTION,
        lease=lease,
        renew_every=shorter / RENEWALS,
        exact_delivery_count=True,
        fenced_settle=True,
        atomic_move=True,
        shared_prefetch=True,
        cross_process=True,
        revocations=True,
        peek=True,
        pause=True,
    )


def refuse_name(queue: Queue) -> None:
    """Raise `Unsupported` for a queue whose list would be a key that has another meaning."""
    if is_taken(queue.name):
        raise Unsupported(
            f"no queue can be called {queue.name!r} on Redis, where that is a key of celeriac's or Celery's own; give "
            "it another name"
        )


def refuse_priorities(queue: Queue, options: Options) -> None:
    """Raise `Unsupported` for priorities on a queue that is shared with Celery, whose workers do not know ours."""
    if options.fleet is not None and queue.priorities > 1:
        raise Unsupported(
            f"queue {queue.name!r} is shared with Celery's workers, which would never look at our priorities; declare "
            f"it without priorities={queue.priorities}"
        )
