"""Sends that nobody waits for: what was not taken is told by the handle, by flush, at close and in the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time

import pytest

from celeriac import App
from celeriac import deferred as module
from celeriac.errors import ConfigurationError, PublishErrors, Unroutable
from celeriac.publisher import Publisher
from celeriac.request import Request, running
from celeriac.result import AsyncResult


@pytest.fixture
def app():
    app = App("later", broker="memory://", publish_confirm="deferred", publish_timeout=2.0)

    @app.task(name="double")
    def double(x: int) -> int:
        return 2 * x

    yield app
    with contextlib.suppress(PublishErrors):
        app.close()


@pytest.fixture
def gate(monkeypatch):
    """Held back until set: what is handed over is not published."""
    opened = threading.Event()
    real = Publisher._publish

    async def wait_for_gate(self, entries):
        await asyncio.to_thread(opened.wait)
        await real(self, entries)

    monkeypatch.setattr(Publisher, "_publish", wait_for_gate)
    yield opened
    opened.set()


def depth(app: App) -> int:
    transport = app.client.connection.transport
    return app.client.portal.run(transport.depth("celeriac")).ready


def test_a_call_returns_at_once_and_flush_when_the_broker_has_it(app, gate) -> None:
    result = app.tasks["double"].delay(2)
    assert isinstance(result, AsyncResult)
    with pytest.raises(TimeoutError):
        app.flush(timeout=0.05)
    gate.set()
    app.flush()
    assert depth(app) == 1


def test_the_result_comes_as_ever(app) -> None:
    with app.run_worker(pool="thread", concurrency=1):
        assert app.tasks["double"].delay(21).get(timeout=5) == 42

        async def main():
            return await (await app.tasks["double"].adelay(4)).aget(timeout=5)

        assert asyncio.run(main()) == 8


def test_what_no_queue_takes_is_told_by_everyone(app, caplog) -> None:
    result = _lost(app)
    with pytest.raises(Unroutable, match="nobody"):
        result.get(timeout=5)
    with pytest.raises(Unroutable):
        _ = result.state
    assert "whose confirm nobody waited for, was returned" in caplog.text
    with pytest.raises(PublishErrors) as told:
        app.flush()
    assert [message.id for message in told.value.failed] == [result.id]
    app.flush()  # once is enough
    _lost(app)
    app.tasks["double"].delay(1)
    with pytest.raises(PublishErrors, match="1 of 1"):
        app.close()


def _lost(app: App) -> AsyncResult:
    """Send where no queue is bound."""
    return app.tasks["double"].apply_async((1,), exchange="nobody", routing_key="listens")


def test_a_loss_that_nobody_asks_about_is_logged(app, caplog) -> None:
    caplog.set_level(logging.ERROR)
    result = _lost(app)
    deadline = time.monotonic() + 5
    while result.id not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_call_may_say_otherwise_and_so_may_a_task(app, gate) -> None:
    app.tasks["double"].delay(1)
    gate.set()
    with pytest.raises(Unroutable):
        app.tasks["double"].apply_async((1,), exchange="nobody", publish_confirm="wait")
    patient = App("patient", broker="memory://")

    @patient.task(name="hasty", publish_confirm="deferred")
    def hasty(): ...

    result = hasty.apply_async((), exchange="nobody")
    with pytest.raises(PublishErrors):
        patient.flush()
    with pytest.raises(Unroutable):
        result.get(timeout=5)
    patient.close()


@pytest.mark.parametrize(
    "make", [lambda how: App("x", publish_confirm=how), lambda how: App("x").task(publish_confirm=how)(len)]
)
def test_another_word_is_refused(make) -> None:
    with pytest.raises(ConfigurationError, match="wait, deferred"):
        make("defered")


def test_inside_a_task_every_send_is_waited_for(app) -> None:
    with running(Request(id="outer", task="double")), pytest.raises(Unroutable):
        _lost(app)


def test_a_slow_broker_makes_callers_wait_and_not_memory_grow(app, gate, monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_UNDER_WAY", 3)
    for number in range(3):
        app.tasks["double"].delay(number)
    fourth = threading.Thread(target=app.tasks["double"].delay, args=(3,))
    fourth.start()
    fourth.join(0.1)
    assert fourth.is_alive()
    gate.set()
    fourth.join(5)
    assert not fourth.is_alive()
    app.flush()
    assert depth(app) == 4


def test_a_batch_waits_for_its_confirms_all_the_same(app) -> None:
    def send() -> None:
        with app.batch():
            _lost(app)
            _lost(app)

    with pytest.raises(PublishErrors, match="2 of 2"):
        send()
