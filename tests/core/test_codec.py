import json
import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.codec import Codecs, JsonCodec
from celeriac.errors import CodecError, ConfigurationError, DecodeError, EncodeError

CODEC = JsonCodec()
UUID_TEXT = "12345678123456781234567812345678"

# value, and the bytes that kombu 5.7 writes for it
TYPED = [
    (datetime(2024, 5, 6, 7, 8, 9, 123456, UTC), b'"datetime", "__value__": "2024-05-06T07:08:09.123456+00:00"'),
    (datetime(2024, 5, 6, 7, 8, 9), b'"datetime", "__value__": "2024-05-06T07:08:09"'),  # noqa: DTZ001  naive stays so
    (date(2024, 5, 6), b'"date", "__value__": "2024-05-06"'),
    (time(7, 8, 9), b'"time", "__value__": "07:08:09"'),
    (Decimal("1.50"), b'"decimal", "__value__": "1.50"'),
    (UUID(UUID_TEXT), b'"uuid", "__value__": {"hex": "12345678123456781234567812345678"}'),
    (b"abc", b'"bytes", "__value__": "abc"'),
    (b"\xff\xfe", b'"base64", "__value__": "//4="'),
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.text(st.characters(categories=["Cs"]), max_size=1),
    st.binary(max_size=20),
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))])),
    st.dates(),
    st.times(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
keys = st.text(max_size=8).filter(lambda key: not key.startswith("__"))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(("value", "wire"), TYPED, ids=lambda item: repr(item)[:30])
def test_a_typed_value_is_written_as_kombu_writes_it_and_comes_back(value, wire):
    encoded = CODEC.encode(value)
    assert encoded == b'{"__type__": %b}' % wire
    decoded = CODEC.decode(encoded)
    assert decoded == value
    assert type(decoded) is type(value)


@given(values)
def test_what_is_encoded_comes_back_equal(value):
    assert CODEC.decode(CODEC.encode(value)) == value


@given(values)
def test_what_is_encoded_is_ascii(value):
    CODEC.encode(value).decode("ascii")


def test_a_tuple_comes_back_as_a_list():
    assert CODEC.decode(CODEC.encode({"t": (1, (2,))})) == {"t": [1, [2]]}


def test_nan_and_infinities_pass():
    decoded = CODEC.decode(CODEC.encode([math.nan, math.inf, -math.inf]))
    assert math.isnan(decoded[0])
    assert decoded[1:] == [math.inf, -math.inf]


def test_an_object_with_dunder_json_is_carried_as_what_that_returns():
    class Point:
        def __json__(self):
            return {"x": 1, "at": date(2024, 1, 2)}

    assert CODEC.decode(CODEC.encode([Point()])) == [{"x": 1, "at": date(2024, 1, 2)}]


def test_separators_and_escapes_are_pythons_own():
    assert CODEC.encode({"a": [1, "☃"], "b": None}) == b'{"a": [1, "\\u2603"], "b": null}'


def test_an_object_with_type_alone_is_left_alone():
    assert CODEC.decode(b'{"__type__": "uuid"}') == {"__type__": "uuid"}
    assert CODEC.decode(b'{"__type__": "uuid", "__value__": 1, "more": 2}')["more"] == 2


def test_a_string_that_looks_like_an_envelope_stays_a_string():
    text = '{"__type__": "nonsense", "__value__": 1}'
    assert CODEC.decode(CODEC.encode(text)) == text


def test_dates_written_as_moments_are_read_as_kombu_does():
    assert CODEC.decode(b'{"__type__": "date", "__value__": "2024-05-06T00:00:00"}') == date(2024, 5, 6)


# --- what cannot be encoded -------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = 1


@dataclass
class Row:
    x: int = 1


class Raises:
    def __json__(self):
        raise KeyError("inner")


class Endless:
    def __json__(self):
        return [self]


class Crooked(dict):
    def items(self):
        raise RuntimeError("no items")


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


cycle: list = []
cycle.append({"again": cycle})

REFUSED = [
    ({1, 2}, (), "set", "pass a list"),
    ([0, {"x": [frozenset({1})]}], (1, "x", 0), "frozenset", "pass a list"),
    ({"a": 1, "b": bytearray(b"x")}, ("b",), "bytearray", "pass bytes"),
    ([Colour.RED], (0,), "Colour", ".value"),
    ([Row()], (0,), "Row", "dataclasses.asdict"),
    ([object()], (0,), "object", "__json__"),
    ([{(1, 2): 3}], (0,), "tuple", "strings as keys"),
    ([Raises()], (0,), "KeyError", "inner"),
    ([1, Endless()], (1,), "Circular", ""),
    (cycle, (0, "again"), "contains itself", "cycles"),
    (10**5000, (), "digits", ""),
    (Crooked(a=1), (), "RuntimeError", "no items"),
    ([timedelta(1)], (0,), "timedelta", "__json__"),
]


@pytest.mark.parametrize(("value", "path", "what", "instead"), REFUSED, ids=[case[2] for case in REFUSED])
def test_an_encode_error_says_where_what_and_what_to_do(value, path, what, instead):
    with pytest.raises(EncodeError) as caught:
        CODEC.encode(value)
    text = str(caught.value)
    assert caught.value.path == path
    assert text.startswith("value" + "".join(f"[{step!r}]" for step in path) + ": ")
    assert what in text
    assert instead in text


def test_what_is_nested_too_deeply_is_an_encode_error():
    with pytest.raises(EncodeError, match="nested too deeply") as caught:
        CODEC.encode(deep(100_000))
    assert len(str(caught.value)) < 200


def test_a_cycle_that_is_none_is_no_problem():
    part = [1]
    assert CODEC.decode(CODEC.encode([part, part])) == [[1], [1]]


# --- what cannot be decoded -------------------------------------------------------------------------------------------

BROKEN = [
    b"",
    b"\xff\xfe",
    b'"\xc3"',
    b"\xef\xbb\xbf1",
    b"{",
    b"[1] 2",
    b"[" * 200_000,
    b"1" * 5000,
    b'{"__type__": "nonsense", "__value__": 1}',
    b'{"__type__": ["uuid"], "__value__": 1}',
    b'{"__type__": null, "__value__": 1}',
    b'{"__type__": "uuid", "__value__": {"hex": 1}}',
    b'{"__type__": "uuid", "__value__": {}}',
    b'{"__type__": "uuid", "__value__": "x"}',
    b'{"__type__": "datetime", "__value__": 5}',
    b'{"__type__": "datetime", "__value__": "yesterday"}',
    b'{"__type__": "date", "__value__": null}',
    b'{"__type__": "time", "__value__": "25:00"}',
    b'{"__type__": "decimal", "__value__": "one"}',
    b'{"__type__": "decimal", "__value__": {}}',
    b'{"__type__": "bytes", "__value__": 1}',
    b'{"__type__": "bytes", "__value__": "\\ud800"}',
    b'{"__type__": "base64", "__value__": "!"}',
    b'{"__type__": "base64", "__value__": "\\u2603"}',
]


@pytest.mark.parametrize("data", BROKEN, ids=lambda data: repr(data)[:60])
def test_broken_bytes_are_a_decode_error(data):
    with pytest.raises(DecodeError, match="cannot be read") as caught:
        CODEC.decode(data)
    assert len(str(caught.value)) < 400
    assert caught.value.reason == "undecodable"


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_raise_a_decode_error(data):
    with suppress(DecodeError):
        CODEC.decode(data)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["datetime", "date", "time", "decimal", "uuid", "bytes", "base64", "no", ""]), plain)
def test_any_envelope_decodes_or_raises_a_decode_error(name, value):
    data = json.dumps({"__type__": name, "__value__": value}).encode()
    with suppress(DecodeError):
        CODEC.decode(data)


# --- the registry -----------------------------------------------------------------------------------------------------


class Reprs:
    content_type = "text/x-repr"
    content_encoding = "latin-1"

    def encode(self, value):
        return repr(value).encode("latin-1")

    def decode(self, data):
        return data.decode("latin-1")


def test_json_is_the_default():
    assert Codecs().encode([1]) == (b"[1]", "application/json", "utf-8")
    assert Codecs().accepted == ("application/json",)


def test_the_first_codec_encodes_and_every_codec_decodes():
    codecs = Codecs(Reprs())
    assert codecs.encode("ä") == (b"'\xe4'", "text/x-repr", "latin-1")
    assert codecs.decode(b"\xe4", "text/x-repr", "latin-1") == "ä"
    assert codecs.decode(b"[1]", "application/json") == [1]
    codecs = Codecs()
    codecs.register(Reprs())
    assert codecs.encode(1)[1] == "application/json"
    assert codecs.decode(b"x", "text/x-repr", "LATIN-1") == "x"


def test_two_codecs_of_one_content_type_are_refused():
    codecs = Codecs()
    with pytest.raises(ConfigurationError, match="application/json"):
        codecs.register(JsonCodec())
    codecs.register(codecs.json)  # the same one again is no clash


@pytest.mark.parametrize(
    ("content_type", "content_encoding"),
    [
        ("application/json", "utf-8"),
        ("application/json", "UTF-8"),
        ("application/json", "utf8"),
        ("application/json", ""),
        ("application/json", "binary"),
        ("Application/JSON", "utf-8"),
        ("application/json; charset=utf-8", "utf-8"),
    ],
)
def test_case_and_parameters_do_not_matter(content_type, content_encoding):
    assert Codecs().decode(b"[1]", content_type, content_encoding) == [1]


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-python-serialize", "x" * 5000])
def test_an_unknown_content_type_is_a_decode_error_naming_those_accepted(content_type):
    with pytest.raises(DecodeError, match="accepted are application/json") as caught:
        Codecs().decode(b"[1]", content_type)
    assert len(str(caught.value)) < 300


def test_an_unknown_content_encoding_is_a_decode_error():
    with pytest.raises(DecodeError, match="utf-16"):
        Codecs().decode(b"[1]", "application/json", "utf-16")


def test_every_codec_error_is_one():
    assert issubclass(EncodeError, CodecError)
    assert issubclass(DecodeError, CodecError)
    assert str(EncodeError("text")) == "text"
    assert str(EncodeError("text", root="args", path=(0, "k"))) == "args[0]['k']: text"
