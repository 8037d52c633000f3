"""From many threads to one loop: every call is answered, in time, with what became of its own messages."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import (
    ConnectionLost,
    PublishErrors,
    PublishNacked,
    PublishUnconfirmed,
    TopologyMismatch,
    Unroutable,
    Unsupported,
)
from celeriac.message import CONFIRMED, Message, Outcome, Receipt
from celeriac.publisher import AT_ONCE, Publisher, raise_for

if TYPE_CHECKING:
    from concurrent.futures import Future

RETURNED = Receipt(Outcome.RETURNED, "no queue")
NACKED = Receipt(Outcome.NACKED, "full")
NOT_SENT = Receipt(Outcome.NOT_SENT, "the connection went away")
UNCONFIRMED = Receipt(Outcome.UNCONFIRMED, "silence")


class FakeTransport:
    """Answers each message by the next of the answers that its id has: a receipt, or an error of the whole call."""

    def __init__(self) -> None:
        self.calls = []
        self.answers = {}
        self.gate = None  # an asyncio.Event that publishing waits for

    async def publish(self, messages):
        self.calls.append([message.id for message in messages])
        if self.gate is not None:
            await self.gate.wait()
        answers = {m.id: self.answers[m.id][0] for m in messages if self.answers.get(m.id)}
        for error in answers.values():
            if isinstance(error, Exception):
                if isinstance(error, ConnectionLost):
                    self.pop(messages)
                raise error
        self.pop(messages)
        return [answers.get(message.id, CONFIRMED) for message in messages]

    def pop(self, messages) -> None:
        for message in messages:
            if self.answers.get(message.id):
                self.answers[message.id].pop(0)


class FakeConnection:
    """Always up, unless told otherwise; writes down what is declared and expected."""

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.store = self
        self.clock = SystemClock()
        self.address = "fake://host"
        self.last_error = None
        self.up = None  # an asyncio.Event that readiness waits for
        self.declared = []
        self.declared_again = 0
        self.mismatch = None
        self.expected = []

    async def ready(self):
        if self.up is not None:
            await self.up.wait()

    async def declare(self, names):
        self.declared.append(set(names))

    async def declare_again(self):
        self.declared_again += 1
        if self.mismatch is not None:
            raise self.mismatch

    async def sent(self, ids):
        self.expected.append(list(ids))


class Bench:
    """A publisher on a loop in a thread of its own, as in a portal."""

    def __init__(self, timeout: float) -> None:
        self.loop = asyncio.new_event_loop()
        self.connection = FakeConnection()
        self.transport = self.connection.transport
        self.publisher = Publisher(self.connection, self.loop, timeout)  # type: ignore[arg-type]
        self.thread = threading.Thread(target=self.loop.run_forever)

    def publish(self, *ids: str, **more) -> Future:
        return self.publisher.publish([message(each, **more) for each in ids])

    def call(self, function, *args):
        """Call ``function`` on the loop and wait for what it returns."""

        async def called():
            return function(*args)

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(5)

    def hold_loop(self) -> threading.Event:
        """Keep the loop from doing anything until the event is set, so that calls gather."""
        held, release = threading.Event(), threading.Event()

        def hold():
            held.set()
            release.wait(10)

        self.loop.call_soon_threadsafe(hold)
        assert held.wait(5)
        return release


def message(id_: str, queue: str = "mail", exchange: str = "", **headers) -> Message:
    return Message(id=id_, exchange=exchange, routing_key=queue, headers=headers)


@contextmanager
def publishing(timeout: float = 5.0):
    bench = Bench(timeout)
    bench.thread.start()
    try:
        yield bench
        asyncio.run_coroutine_threadsafe(bench.publisher.flush(), bench.loop).result(10)
    finally:
        bench.loop.call_soon_threadsafe(bench.loop.stop)
        bench.thread.join()
        bench.loop.close()


def test_one_message_is_declared_published_and_confirmed() -> None:
    with publishing() as bench:
        assert bench.publish("a").result(5) == [CONFIRMED]
        assert bench.connection.declared == [{"mail"}]
        assert bench.connection.expected == []


def test_only_what_goes_to_a_queue_by_name_is_declared() -> None:
    with publishing() as bench:
        bench.publish("a", exchange="topics").result(5)
        assert bench.connection.declared == [set()]


def test_the_store_is_told_of_wanted_results_before_anything_is_sent() -> None:
    with publishing() as bench:
        seen = []
        publish = bench.transport.publish

        async def watch(messages):
            seen.append(list(bench.connection.expected))
            return await publish(messages)

        bench.transport.publish = watch
        bench.publish("a", "b", ignore_result=False).result(5)
        bench.publish("c", ignore_result=True).result(5)
        assert seen[0] == [["a", "b"]]
        assert bench.connection.expected == [["a", "b"]]


def test_what_gathers_is_published_together_and_in_order() -> None:
    with publishing() as bench:
        release = bench.hold_loop()
        futures = [bench.publish(str(number)) for number in range(50)]
        release.set()
        assert all(future.result(5) == [CONFIRMED] for future in futures)
        assert bench.transport.calls == [[str(number) for number in range(50)]]


def test_a_call_is_never_larger_than_a_thousand() -> None:
    with publishing() as bench:
        bench.publish(*map(str, range(AT_ONCE + 1))).result(5)
        assert [len(call) for call in bench.transport.calls] == [AT_ONCE, 1]


def test_one_caller_s_silence_holds_back_no_other() -> None:
    with publishing() as bench:
        gate = bench.call(asyncio.Event)
        bench.transport.gate = gate
        first = bench.publish("first")
        while not bench.transport.calls:
            bench.call(lambda: None)
        bench.transport.gate = None
        assert bench.publish("second").result(5) == [CONFIRMED]
        assert not first.done()
        bench.call(gate.set)
        assert first.result(5) == [CONFIRMED]


def test_sixteen_threads_get_each_its_own_answer() -> None:
    with publishing() as bench:
        for number in range(0, 1600, 10):
            bench.transport.answers[str(number)] = [NACKED]
        wrong = []

        def send(first: int) -> None:
            for number in range(first, first + 100):
                receipts = bench.publish(str(number)).result(10)
                if receipts != [NACKED if number % 10 == 0 else CONFIRMED]:
                    wrong.append((number, receipts))

        threads = [threading.Thread(target=send, args=(100 * number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        sent = [each for call in bench.transport.calls for each in call]
        assert sorted(map(int, sent)) == list(range(1600))


# what is sent again


@pytest.mark.parametrize("receipt", [NOT_SENT, UNCONFIRMED])
def test_what_may_not_have_arrived_is_sent_again_and_only_that(receipt: Receipt) -> None:
    with publishing() as bench:
        bench.transport.answers["b"] = [receipt, receipt]
        assert bench.publish("a", "b", "c").result(5) == [CONFIRMED] * 3
        assert bench.transport.calls == [["a", "b", "c"], ["b"], ["b"]]


@pytest.mark.parametrize("receipt", [NACKED, RETURNED])
def test_a_broker_s_no_is_final(receipt: Receipt) -> None:
    with publishing() as bench:
        bench.transport.answers["a"] = [receipt] * 9
        assert bench.publish("a", "b", exchange="topics").result(5) == [receipt, CONFIRMED]
        assert bench.transport.calls == [["a", "b"]]


def test_a_lost_connection_is_waited_for() -> None:
    with publishing() as bench:
        bench.transport.answers["a"] = [ConnectionLost("gone"), ConnectionLost("gone")]
        assert bench.publish("a").result(5) == [CONFIRMED]
        assert len(bench.transport.calls) == 3


def test_a_queue_that_someone_deleted_is_declared_again_once() -> None:
    with publishing() as bench:
        bench.transport.answers = {"a": [RETURNED], "b": [RETURNED, RETURNED]}
        release = bench.hold_loop()
        futures = [bench.publish("a"), bench.publish("b"), bench.publish("c")]
        release.set()
        assert [future.result(5) for future in futures] == [[CONFIRMED], [RETURNED], [CONFIRMED]]
        assert bench.connection.declared_again == 1
        assert bench.transport.calls == [["a", "b", "c"], ["a", "b"]]


def test_queues_that_cannot_be_declared_again_are_no_trouble_of_others() -> None:
    with publishing() as bench:
        bench.connection.mismatch = TopologyMismatch("other arguments")
        bench.transport.answers = {"a": [RETURNED]}
        release = bench.hold_loop()
        futures = [bench.publish("a"), bench.publish("b")]
        release.set()
        assert [future.result(5) for future in futures] == [[RETURNED], [CONFIRMED]]


def test_a_loss_while_declaring_again_is_waited_for() -> None:
    with publishing() as bench:
        bench.connection.mismatch = ConnectionLost("gone")
        bench.transport.answers = {"a": [RETURNED]}
        assert bench.publish("a").result(5) == [CONFIRMED]


# errors of a whole call


def test_an_option_that_one_queue_lacks_harms_no_other_caller() -> None:
    with publishing() as bench:
        bench.transport.answers["bad"] = [Unsupported("no priorities")]
        release = bench.hold_loop()
        futures = {name: bench.publish(name) for name in ("a", "bad", "b")}
        release.set()
        assert futures["a"].result(5) == [CONFIRMED]
        assert futures["b"].result(5) == [CONFIRMED]
        with pytest.raises(Unsupported, match="no priorities"):
            futures["bad"].result(5)


def test_whatever_a_plugin_raises_reaches_the_callers() -> None:
    with publishing() as bench:
        bench.transport.answers["a"] = [ZeroDivisionError("a plugin's bug")]
        with pytest.raises(ZeroDivisionError):
            bench.publish("a").result(5)
        assert bench.publish("b").result(5) == [CONFIRMED]


def test_a_caller_who_goes_away_harms_no_other() -> None:
    with publishing() as bench:
        release = bench.hold_loop()
        gone, stays = bench.publish("a"), bench.publish("b")
        assert not gone.cancel(), "what may be on its way cannot be called back"
        release.set()
        assert stays.result(5) == [CONFIRMED]


# what the caller is told


@pytest.mark.parametrize(
    ("receipt", "error"), [(RETURNED, Unroutable), (NACKED, PublishNacked), (UNCONFIRMED, PublishUnconfirmed)]
)
def test_one_message_raises_its_own_error(receipt: Receipt, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"message a to exchange '', routing key 'mail' was \w+: "):
        raise_for([message("a")], [receipt])


def test_of_many_messages_the_failed_can_be_sent_again() -> None:
    messages = [message("a"), message("b"), message("c")]
    receipts = [CONFIRMED, RETURNED, NACKED]
    with pytest.raises(PublishErrors, match="2 of 3 messages were not confirmed; the first: returned: no queue") as e:
        raise_for(messages, receipts)
    assert e.value.failed == messages[1:]
    assert e.value.receipts == receipts


def test_nothing_is_raised_when_all_is_well() -> None:
    raise_for([], [])
    raise_for([message("a"), message("b")], [CONFIRMED, CONFIRMED])
