"""How many revoked ids a worker remembers, and for how long."""

from __future__ import annotations

import asyncio

import pytest

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
