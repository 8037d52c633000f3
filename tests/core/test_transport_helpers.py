"""The parts that an author of a transport may compose: what is declared, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from celeriac.errors import ConfigurationError, TopologyMismatch, Unsupported
from celeriac.message import Message
from celeriac.topology import Binding, Exchange, Queue, Topology
from celeriac.transport import Capabilities
from celeriac.transport_helpers import (
    RoutingTable,
    dump_headers,
    first_missing,
    load_headers,
    refuse_mismatch,
    refuse_priority,
    refuse_unsupported,
    url_options,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def table() -> RoutingTable:
    table = RoutingTable()
    table.add(Topology.of([Queue("mail", arguments={"a": [1, b"x"]})]))
    return table


@pytest.mark.parametrize(
    ("topology", "said"),
    [
        (Topology(exchanges=[Exchange("mail", "topic")]), "exchange 'mail' is of type 'direct', not 'topic'"),
        (Topology.of([Queue("mail", priorities=3)]), r"queue 'mail' has priorities=1, not 3"),
        (Topology.of([Queue("mail")]), r"queue 'mail' has argument a=\[1, b'x'\], not None"),
        (Topology.of([Queue("mail", arguments={"a": [True, b"x"]})]), "argument a="),
        (Topology.of([Queue("mail", arguments={"a": [1, b"x"], "b": None})]), None),
        (Topology.of([Queue("mail", arguments={"a": (1, b"x")})]), None),
        (Topology.of([Queue("other", priorities=3)]), None),
    ],
)
def test_what_exists_otherwise_is_refused_by_name(table: RoutingTable, topology: Topology, said: str | None) -> None:
    if said is None:
        refuse_mismatch(topology, table)
        return
    with pytest.raises(TopologyMismatch, match=said):
        refuse_mismatch(topology, table)


@pytest.mark.parametrize(
    ("topology", "missing"),
    [
        (Topology.of([Queue("mail")]), ""),
        (Topology.of([Queue("other")]), "exchange 'other'"),
        (Topology(queues=[Queue("other")]), "queue 'other'"),
        (Topology(bindings=[Binding("", "mail", "k")]), ""),
        (Topology(bindings=[Binding("x", "mail", "k")]), "exchange 'x'"),
        (Topology(bindings=[Binding("mail", "q", "k")]), "queue 'q'"),
    ],
)
def test_the_first_that_is_missing(table: RoutingTable, topology: Topology, missing: str) -> None:
    assert first_missing(topology, table) == missing


def test_a_priority_is_refused_with_what_would_help() -> None:
    queue = Queue("mail")
    with pytest.raises(Unsupported, match=r"declare it with Queue\('mail', priorities=10\)"):
        refuse_priority(1, queue, Capabilities())
    with pytest.raises(Unsupported, match=r"this broker's queues keep priorities=1$"):
        refuse_priority(1, queue, Capabilities(), most_levels=1)
    with pytest.raises(Unsupported, match=r"this broker's queues keep priorities=4$"):
        refuse_priority(5, Queue("mail", priorities=10), Capabilities(priority_levels=4), most_levels=4)
    with pytest.raises(ConfigurationError, match="priority 10 is not 0 to 9"):
        refuse_unsupported(Message(id="a", priority=10), queue, Capabilities(), NOW, most_levels=1)
    refuse_priority(3, Queue("mail", priorities=10), Capabilities(priority_levels=4), most_levels=4)


def test_headers_are_one_line_of_ascii_and_equal_ones_are_equal_text() -> None:
    one = {"b": b"\x00\xff", "a": {"$x": [None, True, 1, 1.5, "ž\n"]}}
    other = {"a": {"$x": [None, True, 1, 1.5, "ž\n"]}, "b": b"\x00\xff"}
    text = dump_headers(one)
    assert text == dump_headers(other)
    assert text.isascii()
    assert "\n" not in text
    assert load_headers(text) == one


@pytest.mark.parametrize(
    "url",
    [
        "x://user:pa?hunter2@host/",
        "x://user:hunter2/x@host/",
        "x://user:hunter2#x@host/",
        "x://u:s3@hunter2/et@host:5672/v",
        "x://user:hun[ter2@host/",
        "x://user:hunter2]@host/",
    ],
)
def test_a_url_that_a_password_has_broken_shows_no_part_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write its password percent-encoded") as raised:
        url_options(url, {"a": int})
    assert not any(part in str(raised.value) for part in ("hunter2", "hun", "ter2", "s3", "et@"))


@pytest.mark.parametrize(
    "url", ["x://host/v@h?a=1", "x:////data/a@b.db?a=1", "x://u:p@h:1/v?a=1", "x://[::1]:5/v@h?a=1", "x://h:1/v@h?a=1"]
)
def test_other_urls_may_have_such_signs(url: str) -> None:
    assert url_options(url, {"a": int}) == {"a": 1}


def test_an_option_that_is_no_number_is_told_in_words() -> None:
    with pytest.raises(ConfigurationError, match="URL option a='x': use a whole number"):
        url_options("x://host?a=x", {"a": int})
