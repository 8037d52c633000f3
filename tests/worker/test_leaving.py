"""A worker that leaves takes nothing more, not even what was on its way to it."""

from __future__ import annotations

import asyncio

from celeriac import App
from celeriac.worker.flow import GIVEN_BACK
from celeriac.worker.options import WorkerOptions
from celeriac.worker.receive import Arrival
from celeriac.worker.worker import Worker


def test_what_arrives_when_it_was_told_to_stop_goes_back_at_once(deliver) -> None:
    async def main():
        app = App("shop", broker="memory://")
        app.task(name="shop.add")(lambda x, y: x + y)
        worker = Worker(app, WorkerOptions.of(app, {"pool": "thread", "concurrency": 1}))
        first, second = deliver(), deliver()
        worker.flow._arrived(Arrival(None, first))
        worker.stop()
        worker.flow._arrived(Arrival(None, second))
        assert [job.delivery for job in worker.pool.recall()] == [first]
        assert [(item.delivery, item.verdict) for item in worker.flow.settler._items] == [(second, GIVEN_BACK)]

    asyncio.run(main())
