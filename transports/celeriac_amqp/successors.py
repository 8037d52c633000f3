"""The message that takes the place of a delivery which is delayed, set aside, or given back from a lease. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from celeriac.message import Dead, Requeue
from celeriac.topology import DEFAULT_EXCHANGE
from celeriac.transport_helpers import OWN_HEADER, dead_letter
from celeriac_amqp.field_table import encode_table
from celeriac_amqp.properties import MAX_HEADER_BYTES, with_route

if TYPE_CHECKING:
    from datetime import datetime

    from celeriac.message import Delivery, Message


def successor(delivery: Delivery, action: Dead | Requeue, now: datetime) -> Message:
    """Return the message to publish before ``delivery`` is acked.

    A requeued one goes to its own queue alone, whatever its exchange would do with it, and shows the same exchange and
    key as before when it is delivered again.
    """
    if isinstance(action, Dead):
        return _fitting(dead_letter(delivery, action.letter, now))
    return replace(
        delivery.message,
        exchange=DEFAULT_EXCHANGE,
        routing_key=delivery.queue,
        headers=with_route(delivery.message),
        not_before=now + action.delay if action.delay else None,
        mandatory=True,
    )


def _fitting(letter: Message) -> Message:
    """Return ``letter`` without its largest headers, if we could not publish it with them: others' may be larger."""
    headers = dict(letter.headers)
    while len(encode_table(headers)) > MAX_HEADER_BYTES:
        largest = max(headers, key=lambda name: len(encode_table({name: headers[name]})))
        if largest == OWN_HEADER:
            headers[OWN_HEADER] = {"dead": headers[OWN_HEADER]["dead"]}
        else:
            del headers[largest]
    return replace(letter, headers=headers)
