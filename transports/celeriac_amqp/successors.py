"""The message that takes the place of a delivery which is delayed, set aside, or given back from a lease. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.message import Dead, Requeue
from celeriac.topology import DEFAULT_EXCHANGE
from celeriac.transport_helpers import dead_letter
from celeriac_amqp.properties import with_route

if TYPE_CHECKING:
    from datetime import datetime

    from celeriac.message import Delivery, Message


def successor(delivery: Delivery, action: Dead | Requeue, now: datetime) -> Message:
    """Return the message to publish before ``delivery`` is acked.

    A requeued one goes to its own queue alone, whatever its exchange would do with it, and shows the same exchange and
    key as before when it is delivered again.
    """
    if isinstance(action, Dead):
        return dead_letter(delivery, action.letter, now)
    return replace(
        delivery.message,
        exchange=DEFAULT_EXCHANGE,
        routing_key=delivery.queue,
        headers=with_route(delivery.message),
        not_before=now + action.delay if action.delay else None,
        mandatory=True,
    )
