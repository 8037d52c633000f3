"""Looking at a broker past the client and the worker under test, and waiting for what only looking can tell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from celeriac import App
from celeriac.errors import QueueNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

LOOK_AGAIN = 0.02


class Witness:
    """A connection of its own to the broker, that declares nothing."""

    def __init__(self, url: str) -> None:
        self._app = App("witness", broker=url, declare="never")

    def __enter__(self) -> Self:
        self._connection = self._app.client.connection
        self._run(self._connection.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._app.close()

    def ready(self, queue: str = "celeriac") -> int:
        return self._run(self._ready(queue))

    def exists(self, queue: str) -> bool:
        try:
            self.ready(queue)
        except QueueNotFound:
            return False
        return True

    def delete(self, *queues: str) -> None:
        for queue in queues:
            self._run(self._connection.transport.delete(queue))

    async def _ready(self, queue: str) -> int:
        await self._connection.ready()
        return (await self._connection.transport.depth(queue)).ready

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._app.client.portal.run(coroutine, 10)


def until(
    condition: Callable[[], object], timeout: float = 30.0, what: Callable[[], str] = lambda: "it did not come about"
) -> float:
    """Look until ``condition`` holds; return the seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < timeout, f"{what()} within {timeout} s"
        time.sleep(LOOK_AGAIN)
    return time.monotonic() - begun
