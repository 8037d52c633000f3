"""What the tests of the pure rooms are made of: messages as a client would send them, and a worker's policy."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from celeriac import App
from celeriac.codec import Codecs
from celeriac.message import Delivery, Message
from celeriac.protocol import parse_header, task_message
from celeriac.worker.admit import Facts, admit
from celeriac.worker.job import Job
from celeriac.worker.verdict import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celeriac.protocol import TaskHeader
    from celeriac.task import Task

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def policy() -> Policy:
    return Policy(node="celeriac@here")


@pytest.fixture(scope="session")
def tasks() -> Mapping[str, Task[..., Any]]:
    app = App("shop", broker="memory://")

    @app.task(name="shop.add")
    def add(x: int, y: int) -> int:
        return x + y

    @app.task(name="shop.mail")
    async def mail(to: str) -> None: ...

    @app.task(name="shop.once", acks_late=False, ignore_result=True)
    def once() -> None: ...

    return app.tasks


@pytest.fixture(scope="session")
def message() -> Callable[..., Message]:
    """Make the message of a call of ``shop.add``, or of another task."""

    def make(task: str = "shop.add", **more: Any) -> Message:
        given: dict[str, Any] = {"id": "id-1", "args": (1, 2), "kwargs": {}, "reply_to": "mailbox", **more}
        return task_message(
            task=task, codecs=Codecs(), exchange="shop", routing_key="shop.add", origin="gen1@there", **given
        )

    return make


@pytest.fixture(scope="session")
def deliver(message: Callable[..., Message]) -> Callable[..., Delivery]:
    """Make a delivery of a message, from the queue ``mail``."""
    tokens = count(1)

    def make(
        sent: Message | None = None, *, delivery_count: int | None = None, redelivered: bool = False, **more: Any
    ) -> Delivery:
        return Delivery(
            message=sent or message(**more),
            queue="mail",
            token=next(tokens),
            delivery_count=delivery_count,
            redelivered=redelivered,
        )

    return make


@pytest.fixture(scope="session")
def job(deliver: Callable[..., Delivery], tasks: Mapping[str, Task[..., Any]], policy: Policy) -> Callable[..., Job]:
    """Admit a delivery that may run."""

    def make(delivery: Delivery | None = None, *, policy: Policy = policy, **more: Any) -> Job:
        admitted = admit(delivery or deliver(**more), Facts(NOW), tasks, policy, 1)
        assert isinstance(admitted, Job)
        return admitted

    return make


@pytest.fixture(scope="session")
def header_of() -> Callable[[Message], TaskHeader]:
    return parse_header
