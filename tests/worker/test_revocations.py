"""How many revoked ids a worker remembers, and for how long."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import ConnectionLost
from celeriac.transport import Revocations as Known
from celeriac.worker import revocations
from celeriac.worker.revocations import Revocations


def learned(clock, seconds=100.0):
    told = []

    async def make():
        return Revocations(None, clock, seconds, lambda ids, force: told.append((ids, force)))

    return asyncio.run(make()), told


class Hands:
    """A clock with hands to turn."""

    def __init__(self):
        self.at = 0.0

    def monotonic(self):
        return self.at


@pytest.fixture
def clock():
    return Hands()


def test_an_id_is_forgotten_when_revocations_do_not_hold_any_more(clock):
    known, told = learned(clock)
    known._learn(["old"], force=False)
    clock.at += 60
    known._learn(["new"], force=True)
    clock.at += 40
    known._learn(["newest"], force=False)
    assert [each in known for each in ("old", "new", "newest")] == [False, True, True]
    assert told == [(frozenset({"old"}), False), (frozenset({"new"}), True), (frozenset({"newest"}), False)]


def test_an_id_that_is_revoked_again_is_remembered_longer(clock):
    known, _ = learned(clock)
    known._learn(["again", "once"], force=False)
    clock.at += 60
    known._learn(["again"], force=False)
    clock.at += 60
    known._learn(["other"], force=False)
    assert [each in known for each in ("again", "once")] == [True, False]


def test_of_too_many_the_oldest_are_forgotten_and_that_is_told(clock, monkeypatch, caplog):
    monkeypatch.setattr(revocations, "MOST", 10)
    known, _ = learned(clock)
    for n in range(12):
        known._learn([f"id-{n}"], force=False)
    assert [f"id-{n}" in known for n in range(12)] == [False] * 2 + [True] * 10
    assert "more than 10 revocations hold" in caplog.text


def test_those_that_come_together_are_told_together(clock):
    async def main():
        told = []
        known = Revocations(None, clock, 100, lambda ids, force: told.append(ids))
        for n in range(1000):
            known._gather(f"id-{n}")
        await asyncio.sleep(0)
        return told

    (ids,) = asyncio.run(main())
    assert len(ids) == 1000


class Torn:
    """A broker whose connection is lost once, between two ways of looking at its revocations."""

    def __init__(self):
        self.transport = self
        self.looks = [frozenset({"a"}), frozenset({"a", "b"})]
        self.cut = asyncio.Event()
        self.back = asyncio.Event()

    async def ready(self):
        if self.cut.is_set():
            await self.back.wait()

    @contextlib.asynccontextmanager
    async def revoked(self):
        yield Known(self.looks.pop(0), self.new())

    async def new(self):
        await self.cut.wait()
        if not self.back.is_set():
            raise ConnectionLost("cut")
        await asyncio.sleep(3600)
        yield "never"

    @contextlib.asynccontextmanager
    async def listen(self, topic):
        raise ConnectionLost("cut")
        yield


def test_after_a_loss_nothing_is_taken_before_all_is_known_again():
    async def main():
        broker = Torn()
        known = Revocations(broker, SystemClock(), 100, lambda ids, force: None)
        following = asyncio.create_task(known.run())
        await known.current()
        assert "a" in known
        assert "b" not in known
        broker.cut.set()
        known.lost()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(known.current(), 0.3)
        broker.back.set()
        await asyncio.wait_for(known.current(), 10)
        assert "b" in known
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(main())
