"""Our own frames of messages are pika's to the byte, and what pika would make of a stream we make of it too."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pika import exceptions, frame, spec
from pika.callback import CallbackManager
from pika.channel import Channel, ContentFrameAssembler

from celeriac.errors import ConfigurationError
from celeriac_amqp.frames import FrameConnection, RawProperties
from celeriac_amqp.lean import cut_confirm, cut_delivery, publish_frames

names = st.text(max_size=40, alphabet=st.characters(exclude_categories=["Cs"]))
bodies = st.binary(max_size=60)
FRAME_MAX = 30
BODY_MAX = FRAME_MAX - 8


class Half:
    """A connection without a socket, with one open channel; writes down what it hears and what it would send."""

    def __init__(self, *, lean: bool, tags: tuple[str, ...] = ("tag",), cancelled: tuple[str, ...] = ()) -> None:
        self.delivered: list[tuple] = []
        self.sent: list[bytes] = []
        self.connection = connection = object.__new__(FrameConnection)
        connection.lean = lean
        connection.bytes_received = connection.frames_received = connection.bytes_sent = connection.frames_sent = 0
        connection._frame_buffer = b""
        connection.connection_state = connection.CONNECTION_OPEN
        connection._body_max_length = BODY_MAX
        connection.callbacks = CallbackManager()
        connection._adapter_emit_data = self.sent.append
        connection._unsent = self.sent
        connection.confirmed = {1: self._confirm} if lean else {}
        self.channel = channel = object.__new__(Channel)
        channel.channel_number = 1
        channel.connection = connection
        channel._state = Channel.OPEN
        channel._consumers = dict.fromkeys(tags, self._take)
        channel._consumers_with_noack = set()
        channel._cancelled = set(cancelled)
        channel._content_assembler = ContentFrameAssembler()
        channel.callbacks = connection.callbacks
        channel.callbacks.add(1, spec.Basic.Ack, self._confirm_frame, one_shot=False)
        connection._channels = {1: channel}

    def _take(self, channel, method, properties, body) -> None:
        assert channel is self.channel
        parts = (method.consumer_tag, method.delivery_tag, method.redelivered, method.exchange, method.routing_key)
        self.delivered.append((*parts, properties, body))

    def _confirm(self, tag: int, multiple: bool) -> None:  # noqa: FBT001 - as on the wire
        self.delivered.append((tag, multiple))

    def _confirm_frame(self, frame_value: frame.Method) -> None:
        self._confirm(frame_value.method.delivery_tag, frame_value.method.multiple)

    def read(self, data: bytes, *cuts: int) -> None:
        places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        for start, end in pairwise(places):
            self.connection._on_data_available(data[start:end])

    @property
    def counted(self) -> tuple[int, int]:
        return self.connection.bytes_received, self.connection.frames_received


def delivery(tag="tag", number=1, *, redelivered=False, exchange="", key="q", properties=b"\0\0", body=b"") -> bytes:
    channel = 1
    method = spec.Basic.Deliver(tag, number, redelivered, exchange, key)
    frames = [frame.Method(channel, method), frame.Header(channel, len(body), RawProperties(properties))]
    frames += [frame.Body(channel, body[i : i + BODY_MAX]) for i in range(0, len(body), BODY_MAX)]
    return b"".join(each.marshal() for each in frames)


deliveries = st.builds(
    delivery,
    tag=st.sampled_from(["tag", "other", "cancelled", "nobody"]),
    number=st.integers(0, 2**64 - 1),
    redelivered=st.booleans(),
    exchange=names,
    key=names,
    properties=st.binary(min_size=2, max_size=40),
    body=bodies,
)
confirms = st.builds(
    lambda tag, multiple: frame.Method(1, spec.Basic.Ack(tag, multiple)).marshal(),
    st.integers(0, 2**64 - 1),
    st.booleans(),
)
others = st.sampled_from([frame.Heartbeat().marshal(), frame.Method(1, spec.Basic.Nack(3, multiple=True)).marshal()])


@given(st.lists(deliveries | confirms | others, max_size=6), st.lists(st.integers(0, 10**6), max_size=8))
@settings(max_examples=300)
@example([delivery(body=b"x" * 50), delivery(body=b"")], [7])
def test_a_stream_cut_anywhere_is_delivered_as_pika_does(pieces, cuts) -> None:
    seen = []
    for lean in (True, False):
        half = Half(lean=lean, tags=("tag", "other"), cancelled=("cancelled",))
        half.connection._heartbeat_checker = None
        half.read(b"".join(pieces), *cuts)
        seen.append((half.delivered, half.counted, half.sent))
    assert seen[0] == seen[1]


@given(names, names, st.binary(max_size=60), bodies, st.booleans(), st.integers(1, 2**16 - 1))
def test_a_publish_is_pika_s_to_the_byte(exchange, key, properties, body, mandatory, number) -> None:
    half = Half(lean=False)
    half.channel.channel_number = number
    half.connection.publish(half.channel, exchange, key, body, properties, mandatory=mandatory)
    ours = publish_frames(number, exchange, key, properties, body, mandatory=mandatory, most=BODY_MAX)
    assert ours == b"".join(half.sent)
    lean = Half(lean=True)
    lean.channel.channel_number = number
    lean.connection.publish(lean.channel, exchange, key, body, properties, mandatory=mandatory)
    assert b"".join(lean.sent) == ours
    for counter in ("bytes_sent", "frames_sent"):
        assert getattr(lean.connection, counter) == getattr(half.connection, counter)


@given(deliveries | confirms, st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=300)
def test_a_stream_with_a_wrong_byte_never_does_more_than_pika_s(data, place, value) -> None:
    broken = bytearray(data)
    broken[place % len(broken)] = value
    for cut in (cut_delivery, cut_confirm):
        found = cut(bytes(broken), 0, len(broken))
        if found is not None:
            assert 0 < found.end <= len(broken)


@given(deliveries | confirms, st.integers(0, 10**6))
def test_what_is_not_whole_is_left(data, cut) -> None:
    short = data[: cut % len(data)]
    for cut_one in (cut_delivery, cut_confirm):
        found = cut_one(short, 0, len(short))
        assert found is None or found.end <= len(short)


def test_a_name_that_amqp_cannot_carry() -> None:
    half = Half(lean=True)
    with pytest.raises(ConfigurationError, match="255"):
        half.connection.publish(half.channel, "", "x" * 256, b"", b"\0\0", mandatory=True)
    assert half.sent == []


def test_a_closed_channel_takes_nothing() -> None:
    half = Half(lean=True)
    half.channel._state = Channel.CLOSED
    with pytest.raises(exceptions.ChannelWrongStateError):
        half.connection.publish(half.channel, "", "q", b"", b"\0\0", mandatory=True)
