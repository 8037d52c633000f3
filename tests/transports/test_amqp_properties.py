"""Messages and header tables on the wire of AMQP, without a broker."""

from __future__ import annotations

import struct
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import ConfigurationError, MessageTooLarge
from celeriac.message import Message
from celeriac_amqp.field_table import decode_table, encode_short, encode_table
from celeriac_amqp.properties import (
    BROKER_HEADERS,
    ROUTE_HEADER,
    decode_properties,
    encode_properties,
    to_message,
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=40)
    | st.binary(max_size=40)
)
NAMES = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
TABLES = st.dictionaries(NAMES, VALUES, max_size=6)


@given(TABLES)
def test_every_table_comes_back_as_it_was(table) -> None:
    data = b"??" + encode_table(table) + b"rest"
    assert decode_table(data, 2) == (table, len(data) - 4)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_nothing_else(data) -> None:
    with suppress(ValueError, IndexError, struct.error, OverflowError):
        decode_table(data, 0)
    decode_properties(data)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("aé", b"S\x00\x00\x00\x03a\xc3\xa9"),
        (b"\xff", b"x\x00\x00\x00\x01\xff"),
        (None, b"V"),
        (True, b"t\x01"),
        (7, b"I\x00\x00\x00\x07"),
        (-(2**31), b"I\x80\x00\x00\x00"),
        (2**31, b"l\x00\x00\x00\x00\x80\x00\x00\x00"),
        (1.5, b"d\x3f\xf8\x00\x00\x00\x00\x00\x00"),
        ([1], b"A\x00\x00\x00\x05I\x00\x00\x00\x01"),
        ((1,), b"A\x00\x00\x00\x05I\x00\x00\x00\x01"),
        ({"k": None}, b"F\x00\x00\x00\x03\x01kV"),
    ],
)
def test_the_type_codes_that_are_written(value, encoded) -> None:
    assert encode_table({"n": value})[4:] == b"\x01n" + encoded


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b"b\xff", -1),
        (b"B\xff", 255),
        (b"s\xff\xfe", -2),
        (b"U\xff\xfe", -2),
        (b"u\xff\xfe", 65534),
        (b"i\xff\xff\xff\xff", 2**32 - 1),
        (b"L\xff\xff\xff\xff\xff\xff\xff\xff", -1),
        (b"f\x3f\xc0\x00\x00", 1.5),
        (b"D\x02\x00\x00\x00\x96", Decimal("1.50")),
        (b"T\x00\x00\x00\x00\x00\x00\x00\x01", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        (b"T\xff\xff\xff\xff\xff\xff\xff\xff", 2**64 - 1),
        (b"S\x00\x00\x00\x01\xff", b"\xff"),
    ],
)
def test_the_type_codes_that_others_write(encoded, value) -> None:
    payload = b"\x01n" + encoded
    assert decode_table(struct.pack(">I", len(payload)) + payload, 0)[0] == {"n": value}


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, object(), {1, 2}, Decimal(1), [object()]])
def test_what_headers_cannot_carry_is_refused_by_name(value) -> None:
    with pytest.raises(ConfigurationError, match="'name'"):
        encode_table({"name": value})


def test_short_strings_have_255_bytes() -> None:
    assert len(encode_short("é" * 127, "x")) == 255
    with pytest.raises(ConfigurationError, match=r"reply address .* 256 bytes"):
        encode_short("é" * 128, "reply address")


OPTIONAL = st.none() | st.text(st.characters(codec="utf-8"), max_size=50)


@given(
    st.builds(
        Message,
        id=st.text(st.characters(codec="ascii"), max_size=40),
        headers=TABLES.filter(lambda table: BROKER_HEADERS.isdisjoint(table) and "id" not in table),
        content_type=st.text(st.characters(codec="ascii"), max_size=20),
        content_encoding=st.text(st.characters(codec="ascii"), max_size=20),
        priority=st.integers(0, 9),
        correlation_id=OPTIONAL,
        reply_to=OPTIONAL,
    ),
    st.booleans(),
)
def test_a_message_comes_back_as_it_was(message, detour) -> None:
    found = decode_properties(encode_properties(message, detour=detour))
    exchange, key = ("another", "key") if detour else (message.exchange, message.routing_key)
    back = to_message(found, exchange, key, message.body, levels=10)
    if not message.id:
        assert back.id == (message.correlation_id or "")
        back = Message(**{name: getattr(back, name) for name in back.__slots__} | {"id": ""})
    assert back == message


def test_a_task_of_celerys_form_has_its_id_in_the_headers_alone() -> None:
    found = decode_properties(encode_properties(Message(id="t", headers={"id": "t"}, correlation_id="c")))
    assert found.message_id is None
    assert found.id == "t"
    other = decode_properties(encode_properties(Message(id="t", headers={"id": "u"})))
    assert (other.message_id, other.id) == ("t", "t")


def test_an_earlier_detour_is_not_forgotten_on_the_next() -> None:
    message = Message(id="m", exchange="", routing_key="queue", headers={ROUTE_HEADER: ["first", "key"]})
    found = decode_properties(encode_properties(message, detour=True))
    back = to_message(found, "tier", "1.0", b"", 1)
    assert (back.exchange, back.routing_key, back.headers) == ("first", "key", {})


def test_what_brokers_add_is_taken_off() -> None:
    headers = {"x-death": [{"count": 1}], "x-delivery-count": 2, "x-first-death-queue": "q", "x-mine": 1}
    found = decode_properties(encode_properties(Message(id="m", headers=headers)))
    assert to_message(found, "", "q", b"", 1).headers == {"x-mine": 1}


def test_a_foreign_priority_is_cut_to_what_the_queue_keeps() -> None:
    found = decode_properties(encode_properties(Message(id="m", priority=9)))
    assert [to_message(found, "", "q", b"", levels).priority for levels in (1, 5, 10, 256)] == [0, 4, 9, 9]


def test_headers_of_64_kib_are_the_most() -> None:
    encode_properties(Message(id="m", headers={"h": "x" * 65_500}))
    with pytest.raises(MessageTooLarge, match="'m'"):
        encode_properties(Message(id="m", headers={"h": "x" * 65_536}))


def test_malformed_headers_are_no_headers_and_the_rest_is_read(caplog) -> None:
    good = encode_properties(Message(id="m", headers={"h": 1}, correlation_id="c"))
    broken = good.replace(b"\x01hI\x00\x00\x00\x01", b"\x01h?\x00\x00\x00\x01")
    found = decode_properties(broken)
    assert (found.headers, found.id, found.correlation_id) == (None, "m", "c")
    assert "malformed" in caplog.text
    deep = b"\x20\x00" + _nested(5000)
    assert decode_properties(deep).headers is None


def _nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = struct.pack(">I", len(data)) + data if not data else _wrap(data)
    return data


def _wrap(inner: bytes) -> bytes:
    payload = b"\x01nF" + inner
    return struct.pack(">I", len(payload)) + payload
