"""What both kits share: a loop a test, bounded time, and a stack of things to close."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from contextlib import AsyncExitStack
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

patience: ContextVar[float] = ContextVar("patience", default=10.0)  # seconds; set from `Case.patience`
QUIET = 0.3  # seconds in which something that must not happen does not happen
DESCRIPTORS = "/proc/self/fd"
LOOK_AGAIN = 0.02  # seconds between two looks at a number that nobody announces


class Case:
    """A test of a contract.

    Attributes:
        time_limit: seconds that one test may take before it fails.
        patience: seconds that something may take that must happen; on a healthy broker it takes milliseconds.
    """

    time_limit: ClassVar[float] = 60.0
    patience: ClassVar[float] = 10.0
    stack: AsyncExitStack

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        """Run ``test`` on a new loop, and close what it has opened."""
        with asyncio.Runner() as runner:
            runner.run(self._bounded(test))

    async def _bounded(self, test: Coroutine[Any, Any, None]) -> None:
        self.stack = AsyncExitStack()
        patience.set(self.patience)
        try:
            async with asyncio.timeout(self.time_limit):
                await test
        finally:
            async with asyncio.timeout(self.time_limit):
                await self.stack.aclose()

    def offered(self, request: pytest.FixtureRequest, name: str) -> Any:
        """Return the value of an optional fixture, ``None`` where the author has none of that name."""
        try:
            return request.getfixturevalue(name)
        except pytest.FixtureLookupError as error:
            if error.argname != name:
                raise  # it is there, and wants another one that is not
            return None


def unique(stem: str) -> str:
    """Return a name that no other test uses."""
    return f"{stem}-{uuid.uuid4().hex[:12]}"


async def eventually(
    look: Callable[[], Awaitable[T]], satisfied: Callable[[T], bool], within: float | None = None
) -> T:
    """Look until the answer satisfies; fail with the last answer after ``within`` seconds, by default `patience`."""
    within = patience.get() if within is None else within
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not satisfied(seen := await look()):
        assert loop.time() < deadline, f"still {seen!r} after {within} s"
        await asyncio.sleep(LOOK_AGAIN)
    return seen


def footprint() -> tuple[int, set[int | None], int]:
    """Return how many descriptors this process has, its threads, and how many tasks its loop has."""
    descriptors = len(os.listdir(DESCRIPTORS)) if os.path.isdir(DESCRIPTORS) else 0  # noqa: PTH112, PTH208 - a pseudo file system
    return descriptors, {thread.ident for thread in threading.enumerate()}, len(asyncio.all_tasks())
