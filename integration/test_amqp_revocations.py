"""What a reader of the stream of revocations meets when its marker is not confirmed."""

from __future__ import annotations

import asyncio

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import ConnectionLost, PublishErrors
from celeriac.message import Outcome, Receipt
from celeriac_amqp.transport import AmqpTransport


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (
            Outcome.UNCONFIRMED,
            ConnectionLost,
        ),  # the link to publish on was half open: whoever reads tries again at once
        (Outcome.NOT_SENT, ConnectionLost),
        (Outcome.RETURNED, PublishErrors),
        (Outcome.NACKED, PublishErrors),
    ],
)
def test_a_marker_that_is_not_confirmed(amqp_vhost, monkeypatch, outcome, error) -> None:
    async def body() -> None:
        transport = AmqpTransport([amqp_vhost], clock=SystemClock(), on_lost=lambda _error: None)
        await transport.open()
        monkeypatch.setattr(transport, "publish_unchecked", answer)
        try:
            with pytest.raises(Exception, match="a test") as raised:
                async with transport.revoked():
                    pass
        finally:
            await transport.close()
        assert type(raised.value) is error

    async def answer(messages):
        return [Receipt(outcome, "a test") for _ in messages]

    asyncio.run(body())
