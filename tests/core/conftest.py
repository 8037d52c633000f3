"""Apps that live inside the test, and a look at what they have sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from celeriac import App
from celeriac.codec import Codecs
from celeriac.protocol import decode_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celeriac.message import Message


@pytest.fixture
def make_app() -> Iterator[Callable[..., App]]:
    """Make an App on a broker of its own inside the process; closed when the test ends."""
    apps: list[App] = []

    def make(main: str | None = "shop", **settings: Any) -> App:
        apps.append(App(main, **{"broker": "memory://", **settings}))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app()


@pytest.fixture(scope="session")
def waiting() -> Callable[..., list[Message]]:
    """Return the messages that wait in a queue, next first."""

    def look(app: App, queue: str = "celeriac") -> list[Message]:
        async def peek() -> list[Message]:
            await app.client.connection.ready()
            await app.client.connection.declare([queue])
            return list(await app.client.connection.transport.peek(queue, 10_000))

        return app.client.portal.run(peek())

    return look


@pytest.fixture(scope="session")
def arguments() -> Callable[[Message], tuple[list[Any], dict[str, Any]]]:
    """Return what a message calls its task with."""

    def read(message: Message) -> tuple[list[Any], dict[str, Any]]:
        args, kwargs, _ = decode_body(Codecs(), message.body, message.content_type, message.content_encoding)
        return args, kwargs

    return read
