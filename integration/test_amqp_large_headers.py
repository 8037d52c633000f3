"""Headers larger than what we publish: others may send them, and what cannot be sent on must not come back for ever."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import aio_pika
import pytest
from witness import Witness, until
from worker_process import WorkerProcess

from celeriac import App
from celeriac.dead import DeadLetters

LATER = {"eta": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}


@pytest.mark.parametrize(("task", "more"), [("sums.add", LATER), ("nobody.knows", {})], ids=["early", "unknown"])
def test_what_would_have_to_be_delayed_is_set_aside(amqp_url, task, more) -> None:
    async def publish() -> None:
        async with await aio_pika.connect(amqp_url) as connection:
            channel = await connection.channel()
            headers = {"task": task, "id": "large", "lang": "py", "mine": "x" * 100_000, **more}
            message = aio_pika.Message(
                b"[[1, 2], {}, {}]", headers=headers, content_type="application/json", message_id="large"
            )
            await channel.default_exchange.publish(message, "celeriac")

    with WorkerProcess("sums", amqp_url, "-c", "1") as worker, Witness(amqp_url) as witness:
        worker.ready()
        asyncio.run(publish())
        until(lambda: witness.exists("celeriac.dead") and witness.ready("celeriac.dead") == 1)
        assert witness.ready() == 0
        assert sum("set aside: it cannot be sent on" in line for line in worker.lines) == 1
        assert worker.terminate() == 0
    app = App("looker", broker=amqp_url)
    (letter,) = DeadLetters(app, ["celeriac"]).peek()
    app.close()
    assert (letter.id, letter.reason) == ("large", "unsendable")
