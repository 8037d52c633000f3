"""Frames and packets, without processes."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac import errors
from celeriac.message import Message, Receipt
from celeriac.message import Outcome as Sent
from celeriac.protocol import ErrorData
from celeriac.worker.executors import packets, wire
from celeriac.worker.executors.child_process import exit_text
from celeriac.worker.executors.frames import FrameReader, FrameWriter, frame
from celeriac.worker.executors.memory import MemoryLimit
from celeriac.worker.job import Assignment, Cancelled, Failed, Rejected, Succeeded

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=30)
@given(st.lists(PLAIN, min_size=1), st.integers(1, 50))
def test_frames_come_out_whole_however_they_are_cut(values, step):
    data = b"".join(map(frame, values))
    reader = FrameReader()
    found = []
    for start in range(0, len(data), step):
        found += reader.feed(memoryview(data)[start : start + step])
    assert found == values


def test_a_large_frame_in_small_pieces():
    value = os.urandom(8 << 20)
    data = frame(value)
    reader = FrameReader()
    pieces = [reader.feed(data[start : start + 65536]) for start in range(0, len(data), 65536)]
    assert pieces[-1] == [value]


async def test_a_writer_neither_blocks_nor_loses():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    writer = FrameWriter(asyncio.get_running_loop(), ours)
    values = [os.urandom(300_000) for _ in range(10)]
    for value in values:
        writer.send(value)
    reader, found = FrameReader(), []
    while len(found) < len(values):
        found += reader.feed(await asyncio.to_thread(theirs.recv, 1 << 20))
    assert found == values
    writer.close()
    writer.send("nobody hears this")
    await asyncio.sleep(0)
    ours.close()
    theirs.close()


async def test_a_writer_survives_its_reader():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    writer = FrameWriter(asyncio.get_running_loop(), ours)
    theirs.close()
    for _ in range(3):
        writer.send("x")
        await asyncio.sleep(0)
    writer.close()
    ours.close()


@pytest.fixture
def inbox():
    sender, receiver = packets.inbox_pair()
    yield sender, receiver
    sender.close()
    receiver.close()


@pytest.mark.parametrize("size", [0, 1, 60 * 1024, 60 * 1024 + 1, 1 << 20])
def test_a_packet_of_any_size(inbox, size):
    sender, receiver = inbox
    data = os.urandom(size)
    assert packets.send(sender, 7, data)
    packet = packets.receive(receiver)
    assert packet.seq == 7
    assert (packet.file is not None) == (size > 60 * 1024)
    assert packet.load() == data
    assert packets.receive(receiver, wait=False) is None


def test_a_packet_can_be_sent_on(inbox):
    sender, receiver = inbox
    for size in (10, 1 << 20):
        data = os.urandom(size)
        packets.send(sender, 1, data)
        assert packets.send_again(sender, packets.receive(receiver))
        assert packets.receive(receiver).load() == data


def test_a_full_inbox_says_so(inbox):
    sender, receiver = inbox
    sent = 0
    while packets.send(sender, sent, b"x" * 100):
        sent += 1
    assert 33 < sent < 10_000
    assert [packets.receive(receiver).seq for _ in range(sent)] == list(range(sent))


def test_the_end_comes_after_what_was_sent(inbox):
    sender, receiver = inbox
    packets.send(sender, 1, b"")
    packets.send_end(sender)
    assert packets.receive(receiver).load() == b""
    assert packets.receive(receiver, wait=False) is packets.END
    sender.close()
    assert packets.receive(receiver) is packets.END


def test_packets_leave_no_descriptor(inbox):
    sender, receiver = inbox
    before = descriptors()
    for _ in range(10):
        packets.send(sender, 1, b"x" * 100_000)
        packets.receive(receiver).load()
        packets.send(sender, 1, b"x" * 100_000)
        packets.receive(receiver).close()
    assert descriptors() == before


def descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


ERROR = ErrorData(type="ValueError", module="builtins", mro=("builtins.ValueError",), args=["x", 1], message="x")


@pytest.mark.parametrize(
    "outcome",
    [
        Succeeded(body=b"1", content_type="a/b", content_encoding="utf-8", shown="1", seconds=0.5),
        Failed(error=ERROR, traceback="Traceback", seconds=0.5),
        Rejected(reason="unknown", detail="x"),
        Cancelled(),
    ],
)
def test_outcomes_survive_the_wire(outcome):
    (values,) = FrameReader().feed(frame(wire.outcome_to_wire(outcome)))
    assert wire.outcome_from_wire(values) == outcome


def test_messages_and_receipts_survive_the_wire():
    from datetime import UTC, datetime

    message = Message(id="1", headers={"a": [1, {"b": None}]}, body=b"x", not_before=datetime(2026, 1, 1, tzinfo=UTC))
    (values,) = FrameReader().feed(frame(wire.messages_to_wire([message])))
    assert wire.messages_from_wire(values) == [message]
    receipts = [Receipt(outcome, "why") for outcome in Sent]
    assert wire.receipts_from_wire(wire.receipts_to_wire(receipts)) == receipts


def test_an_assignment_survives_the_wire():
    assignment = Assignment(
        seq=1, task="t", body=b"x", content_type="a/b", content_encoding="c", compression="z", request={"id": "1"}
    )
    assert wire.unpack_assignment(wire.pack_assignment(assignment)) == assignment


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Unroutable", errors.Unroutable),
        ("Unsupported", errors.Unsupported),
        ("ConfigurationError", errors.ConfigurationError),
        ("UnknownOption", errors.TransportError),  # built from more than a text
        ("did_you_mean", errors.TransportError),
        ("OSError", errors.TransportError),
    ],
)
def test_errors_of_publishes(name, kind):
    error = wire.error_from_wire(name, "the text")
    assert type(error) is kind
    assert "the text" in str(error)


@pytest.mark.parametrize(
    ("code", "text"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal 9 (SIGKILL)"), (-200, "signal 200")]
)
def test_exit_texts(code, text):
    assert exit_text(code) == text


def test_memory():
    assert MemoryLimit(0).exceeded() == 0
    assert MemoryLimit(1 << 40).exceeded() == 0
    assert MemoryLimit(1).exceeded() > 1000


def test_what_marshal_cannot_carry_is_made_plain():
    from datetime import UTC, datetime
    from decimal import Decimal
    from enum import IntEnum, StrEnum
    from types import MappingProxyType

    class Word(StrEnum):
        A = "a"

    class Number(IntEnum):
        ONE = 1

    value = [Word.A, Number.ONE, True, Decimal("1.5"), datetime(2026, 1, 1, tzinfo=UTC), MappingProxyType({"b": b"x"})]
    (found,) = FrameReader().feed(frame(value))
    assert found == ["a", 1, True, "1.5", "2026-01-01T00:00:00+00:00", {"b": b"x"}]
    assert [type(part) for part in found[:3]] == [str, int, bool]
