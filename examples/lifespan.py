"""Coroutine tasks that share what is opened once an executor: here a pool of connections to an imagined service.

Run it: python lifespan.py.
"""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

from celeriac import App, current_task

app = App(broker="memory://")


class Service:
    """Stands for a client with a pool of connections; it must be closed."""

    async def price(self, item: str) -> int:
        """Ask for a price."""
        await asyncio.sleep(0.2)  # the network
        return len(item)

    async def close(self) -> None:
        """Give the connections back."""
        print("service closed")


@app.lifespan
async def lifespan() -> AsyncIterator[Service]:
    service = Service()
    print("service opened")
    yield service
    await service.close()


@app.task
async def price(item: str) -> int:
    request = current_task()
    assert request is not None  # noqa: S101 - for the type checker: a task runs here
    service: Service = request.state
    return await service.price(item)


async def main() -> None:
    begun = monotonic()
    results = await price.adelay_many([("pear",), ("quince",), ("medlar",)])
    print("prices:", [await result for result in results])
    print("waited for one:", monotonic() - begun < 0.5)  # noqa: PLR2004 - three times 0.2 s would be more


if __name__ == "__main__":
    with app.run_worker(concurrency=1):
        asyncio.run(main())
