"""An App as a program has one, and a sandbox for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from celeriac import App, Reject
from celeriac.testing import Sandbox


class Shop:
    """Tasks of every kind, on a broker that is not there."""

    def __init__(self):
        self.app = App("shop", broker="amqp://nobody:secret@nowhere.invalid:1", routes={"shop.mail": "mail"})
        self.done = []
        self.hold = threading.Event()

        @self.app.task(name="shop.charge")
        def charge(amount, currency="EUR"):
            self.done.append((amount, currency, threading.current_thread()))
            return amount

        @self.app.task(name="shop.mail")
        def mail(to):
            charge.delay(1)

        @self.app.task(name="shop.wait")
        def wait_for_it():
            self.hold.wait()

        @self.app.task(name="shop.sleep", acks_late=False)
        async def sleep():
            await asyncio.sleep(3600)

        @self.app.task(name="shop.flaky", autoretry_for=(OSError,), max_retries=5, default_retry_delay=600)
        def flaky():
            self.done.append(self.app.clock.now())
            if len(self.done) < 4:
                raise OSError("not yet")
            return "at last"

        @self.app.task(name="shop.break")
        def break_it(ignored=None):
            raise ValueError("broken")

        @self.app.task(name="shop.reject")
        def reject():
            raise Reject("no such thing")

        self.charge, self.mail, self.wait, self.sleep = charge, mail, wait_for_it, sleep
        self.flaky, self.break_it, self.reject = flaky, break_it, reject


@pytest.fixture
def shop():
    shop = Shop()
    yield shop
    shop.hold.set()
    shop.app.close()


@pytest.fixture
def box(shop):
    with Sandbox(shop.app) as box:
        yield box
