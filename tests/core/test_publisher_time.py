"""In time: how long a call is waited for, and what it is told then."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.core.test_publisher import NOT_SENT, UNCONFIRMED, publishing

from celeriac.errors import ConnectionLost
from celeriac.message import Outcome


def test_nobody_waits_longer_than_the_timeout_for_a_broker_that_is_away() -> None:
    with publishing(timeout=0.1) as bench:
        bench.connection.up = bench.call(asyncio.Event)
        bench.connection.last_error = ConnectionLost("nobody listens on host")
        with pytest.raises(
            ConnectionLost, match=r"fake://host did not answer within publish_timeout=0.1 s: nobody"
        ) as e:
            bench.publish("a").result(5)
        assert e.value.__cause__ is bench.connection.last_error
        assert bench.transport.calls == []


def test_what_was_never_written_is_not_said_to_be_unconfirmed() -> None:
    with publishing(timeout=0.2) as bench:
        bench.transport.answers["a"] = [ConnectionLost("gone")] * 999
        with pytest.raises(ConnectionLost, match="did not answer within"):
            bench.publish("a").result(5)


def test_why_it_was_never_written_is_told_though_the_broker_is_back() -> None:
    with publishing(timeout=0.2) as bench:
        bench.transport.answers["a"] = [ConnectionLost("the disk is full")] * 99
        with pytest.raises(ConnectionLost, match="the disk is full"):
            bench.publish("a").result(5)


def test_what_was_sent_and_not_confirmed_in_time_may_have_been_sent() -> None:
    with publishing(timeout=0.1) as bench:
        bench.transport.gate = bench.call(asyncio.Event)
        (receipt,) = bench.publish("a").result(5)
        assert receipt.outcome is Outcome.UNCONFIRMED


def test_calls_that_follow_each_other_are_each_answered_in_time() -> None:
    """One timer serves them all."""
    with publishing(timeout=0.1) as bench:
        bench.transport.gate = bench.call(asyncio.Event)
        answers = [bench.publish("first")]
        half = threading.Event()
        bench.loop.call_soon_threadsafe(bench.loop.call_later, 0.05, half.set)
        assert half.wait(5)
        answers.append(bench.publish("while its timer runs"))
        for answer in answers:
            (receipt,) = answer.result(5)
            assert receipt.outcome is Outcome.UNCONFIRMED


def test_a_timeout_of_the_transport_s_own_leaves_open_whether_it_was_sent() -> None:
    with publishing() as bench:
        bench.transport.answers["a"] = [TimeoutError()]
        (receipt,) = bench.publish("a").result(5)
        assert receipt.outcome is Outcome.UNCONFIRMED


def test_at_the_timeout_each_message_says_how_far_it_came() -> None:
    with publishing(timeout=0.3) as bench:
        bench.transport.answers["1"] = [UNCONFIRMED] * 999
        bench.transport.answers["2"] = [NOT_SENT] * 999
        receipts = bench.publish("0", "1", "2").result(5)
        assert [receipt.outcome for receipt in receipts] == [
            Outcome.CONFIRMED,
            Outcome.UNCONFIRMED,
            Outcome.NOT_SENT,
        ]


def test_flush_returns_when_all_is_answered() -> None:
    with publishing() as bench:
        gate = bench.call(asyncio.Event)
        bench.transport.gate = gate
        answer = bench.publish("a")
        flushed = asyncio.run_coroutine_threadsafe(bench.publisher.flush(), bench.loop)
        while not bench.transport.calls:
            bench.call(lambda: None)
        assert not flushed.done()
        bench.call(gate.set)
        flushed.result(5)
        assert answer.done()
