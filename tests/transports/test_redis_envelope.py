"""Messages as kombu keeps them in Redis, without a server."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.errors import Unsupported
from celeriac.message import Message
from celeriac.transport_helpers import matches
from celeriac_redis.envelope import decode, encode, restored
from celeriac_redis.layout import Layout, level_of, matching, pattern

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | st.binary(max_size=40)
NAMES = TEXT | st.sampled_from(["__type__", "__value__", "redelivered", "celeriac", "id"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
MESSAGES = st.builds(
    Message,
    id=TEXT.filter(bool),
    exchange=TEXT,
    routing_key=TEXT,
    body=st.binary(max_size=100),
    content_type=TEXT,
    content_encoding=TEXT,
    headers=st.dictionaries(NAMES, VALUES, max_size=6),
    priority=st.integers(0, 9),
    correlation_id=st.none() | TEXT,
    reply_to=st.none() | TEXT,
)
CELERY_S = {
    "body": b64encode(b"[[1, 1], {}, {}]").decode(),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"lang": "py", "task": "wapp.add", "id": "f232f72c", "eta": None, "timelimit": [None, None]},
    "properties": {
        "correlation_id": "f232f72c",
        "reply_to": "277fcf81",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "celery"},
        "priority": 3,
        "body_encoding": "base64",
        "delivery_tag": "8a6cc1ba",
    },
}


def whole(message: Message, tag: str = "0123") -> bytes:
    """Return the envelope as the scripts put it together."""
    return f'{{"properties":{{"delivery_tag":"{tag}"{encode(message, NOW)}'.encode()


def means_bytes(value: object) -> bool:
    """Return whether a header holds a table that kombu takes for bytes."""
    if isinstance(value, dict):
        named = value.keys() == {"__type__", "__value__"} and value["__type__"] in ("bytes", "base64")
        return named or any(map(means_bytes, value.values()))
    return isinstance(value, list) and any(map(means_bytes, value))


@given(MESSAGES.filter(lambda message: not means_bytes(dict(message.headers))))
def test_every_message_comes_back_as_it_was(message) -> None:
    received = decode(whole(message), levels=10)
    assert received.message == message
    assert (received.deliveries, received.returns, received.redelivered) == (0, 0, False)
    assert received.at == NOW.timestamp()


@given(MESSAGES.filter(lambda message: not means_bytes(dict(message.headers))), st.integers(0, 99), st.integers(1, 99))
def test_what_came_back_says_so(message, deliveries, returns) -> None:
    mark = f'{{"celeriac-returns":[{deliveries},{returns}],'.encode()
    received = decode(mark + whole(message)[1:], levels=10)
    assert received.message == message
    assert (received.deliveries, received.returns, received.redelivered) == (deliveries, returns, True)
    again = decode(restored(json.loads(mark + whole(message)[1:])).encode(), levels=10)  # kombu writes spaces
    assert (again.deliveries, again.returns, again.redelivered) == (deliveries, returns, True)


@given(MESSAGES)
def test_what_is_written_is_what_kombu_reads(message) -> None:
    try:
        read = json.loads(whole(message, "a-tag"))
    except Unsupported:
        return
    properties = read["properties"]
    assert properties["delivery_tag"] == "a-tag"
    assert properties["delivery_info"] == {"exchange": message.exchange, "routing_key": message.routing_key}
    assert (properties["body_encoding"], properties["priority"]) == ("base64", 0)
    assert b64encode(message.body).decode() == read["body"]
    assert read["content-type"] == message.content_type
    assert ("reply_to" in properties) == (message.reply_to is not None)


def test_bytes_are_written_as_kombu_writes_them() -> None:
    headers = json.loads(whole(Message(id="m", headers={"clean": b"abc", "not": b"\xff"})))["headers"]
    assert headers == {
        "clean": {"__type__": "bytes", "__value__": "abc"},
        "not": {"__type__": "base64", "__value__": "/w=="},
    }


def test_a_message_of_celery_s() -> None:
    message = decode(json.dumps(CELERY_S).encode(), levels=1).message
    assert (message.id, message.exchange, message.routing_key) == ("f232f72c", "", "celery")
    assert (message.body, message.content_type) == (b"[[1, 1], {}, {}]", "application/json")
    assert message.headers == CELERY_S["headers"]
    assert message.priority == 0, "its priorities are none of ours"


def test_what_kombu_restores_is_redelivered_and_as_it_was() -> None:
    received = decode(restored(CELERY_S).encode(), levels=1)
    assert received.redelivered
    assert received.message == decode(json.dumps(CELERY_S).encode(), levels=1).message


@given(st.binary(max_size=200) | st.recursive(SCALARS, st.lists).map(repr).map(str.encode))
def test_any_bytes_are_read(junk) -> None:
    assert decode(junk, levels=1).message.body is not None


@given(st.data())
def test_an_envelope_with_anything_in_any_place_is_read(data) -> None:
    names = ["body", "content-type", "content-encoding", "headers", "properties", "celeriac-returns"]
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    )
    inner = ["delivery_info", "celeriac", "body_encoding", "correlation_id", "reply_to", "priority"]
    envelope = data.draw(st.dictionaries(st.sampled_from(names), values))
    if data.draw(st.booleans()):
        envelope["properties"] = data.draw(st.dictionaries(st.sampled_from(inner), values))
    message = decode(json.dumps(envelope).encode(), levels=10).message
    assert 0 <= message.priority <= 9
    assert isinstance(message.headers, dict)


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, timedelta(1), [object()]])
def test_what_no_broker_carries_is_refused(value) -> None:
    with pytest.raises(Unsupported, match="header"):
        encode(Message(id="m", headers={"odd": value}), NOW)


def test_a_table_that_means_bytes_is_refused() -> None:
    with pytest.raises(Unsupported, match="__type__"):
        encode(Message(id="m", headers={"odd": {"__type__": "bytes", "__value__": "x"}}), NOW)


def test_headers_without_end_are_refused() -> None:
    endless: list[object] = []
    for _ in range(100_000):
        endless = [endless]
    with pytest.raises(Unsupported, match="nested"):
        encode(Message(id="m", headers={"odd": endless}), NOW)


def test_a_delayed_message_is_as_old_as_its_moment() -> None:
    later = NOW + timedelta(hours=1)
    assert decode(whole(Message(id="m", not_before=later)), levels=1).at == later.timestamp()


# -- names


@pytest.mark.parametrize(
    ("priority", "level"), [(0, "0"), (2, "0"), (3, "a"), (5, "a"), (6, "b"), (8, "b"), (9, "c"), (200, "c")]
)
def test_the_lists_of_celery_s_priorities(priority, level) -> None:
    assert level_of(priority) == level


@pytest.mark.parametrize("priority", [None, "7", 2.5, -1])
def test_what_is_no_priority_is_the_first_list(priority) -> None:
    assert level_of(priority) == "0"


def test_the_expression_of_a_topic_is_kombu_s() -> None:
    assert pattern("topic", "a.*.#") == r"^a\.[^\.]+\..*?$"
    assert pattern("topic", "a_b.c") == r"^a\_b\.c$"
    assert pattern("direct", "a.*") == ""


@given(st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=4), st.lists(st.sampled_from("ab"), min_size=1))
def test_the_expression_takes_what_the_binding_takes(words, key) -> None:
    bound, routing_key = ".".join(words), ".".join(key)
    assert matching(bound, pattern("topic", bound), routing_key) == matches("topic", bound, routing_key)
    assert matching(bound, "", routing_key) == matches("direct", bound, routing_key)


def test_channels_name_the_database() -> None:
    one, other = Layout("p:", 0), Layout("p:", 1)
    assert one.signal("t") != other.signal("t")
    assert one.lists("q") == ("p:q", "p:q\x06\x163", "p:q\x06\x166", "p:q\x06\x169")
