"""Exchanges, queues and bindings, and how a routing table reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import Binding, Exchange, Queue
from celeriac.errors import ConfigurationError
from celeriac.topology import Topology, dead_queue
from celeriac.transport_helpers import RoutingTable, matches


@pytest.mark.parametrize("name", ["", "q" * 256, "ü" * 128])
def test_a_name_that_no_broker_takes_is_refused(name: str) -> None:
    for kind in (Exchange, Queue):
        with pytest.raises(ConfigurationError, match="1 to 255 bytes"):
            kind(name)


def test_a_name_of_255_bytes_is_taken() -> None:
    assert Queue("q" * 255).name


@pytest.mark.parametrize("priorities", [0, -1, 11])
def test_levels_are_one_to_ten(priorities: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to 10"):
        Queue("q", priorities=priorities)


def test_an_exchange_has_a_known_type() -> None:
    with pytest.raises(ConfigurationError, match="'direct', 'topic' or 'fanout'"):
        Exchange("e", "headers")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("queue", "exchange", "key"),
    [
        (Queue("q"), Exchange("q"), "q"),
        (Queue("q", "e"), Exchange("e"), "q"),
        (Queue("q", Exchange("e", "topic"), "a.*"), Exchange("e", "topic"), "a.*"),
        (Queue("q", "e", ""), Exchange("e"), ""),
    ],
)
def test_a_queue_implies_its_exchange_and_its_binding(queue: Queue, exchange: Exchange, key: str) -> None:
    topology = Topology.of([queue])
    assert topology.exchanges == (exchange,)
    assert topology.bindings == (Binding(exchange.name, "q", key),)


def test_a_full_exchange_wins_over_a_name_in_any_order() -> None:
    full, named = Queue("a", Exchange("e", "topic"), "a.#"), Queue("b", "e", "b")
    for queues in ([full, named], [named, full]):
        assert Topology.of(queues).exchanges == (Exchange("e", "topic"),)
    assert Topology.of([named], [Exchange("e", "fanout")]).exchanges == (Exchange("e", "fanout"),)


def test_two_types_for_one_exchange_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="'topic' and as 'fanout'"):
        Topology.of([Queue("a", Exchange("e", "topic")), Queue("b", Exchange("e", "fanout"))])


def test_further_bindings_come_along() -> None:
    more = Binding("e", "q", "more")
    assert Topology.of([Queue("q", "e")], bindings=[more]).bindings == (Binding("e", "q", "q"), more)


def test_dead_letters_keep_the_arguments_and_the_levels() -> None:
    dead = dead_queue(Queue("q", "e", "key", priorities=5, arguments={"x": 1}))
    assert dead == Queue("q.dead", priorities=5, arguments={"x": 1})


def test_queues_are_hashable_whatever_their_arguments() -> None:
    assert len({Queue("q", arguments={"x": []}), Queue("q", arguments={"x": []})}) == 1


# routing


@pytest.mark.parametrize(
    ("pattern", "key", "matched"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("#", "", True),
        ("#", "a.b", True),
        ("*", "", True),
        ("*", "a", True),
        ("#.c", "c", True),
        ("#.c", "a.b.c", True),
        ("a.#.c", "a.c", True),
        ("a.#.c", "a.b.b.c", True),
        ("a.#.c", "ac", False),
        ("*.*", "a", False),
        ("a+", "aa", False),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_topics_match_by_words(pattern: str, key: str, matched: bool) -> None:  # noqa: FBT001 - a table
    assert matches("topic", pattern, key) is matched


@given(st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1), st.lists(st.sampled_from("ab"), min_size=1))
def test_topics_match_as_the_words_of_the_specification_say(pattern: list[str], key: list[str]) -> None:
    def fits(pattern: list[str], key: list[str]) -> bool:
        if not pattern:
            return not key
        head, *rest = pattern
        if head == "#":
            return any(fits(rest, key[i:]) for i in range(len(key) + 1))
        return bool(key) and head in {"*", key[0]} and fits(rest, key[1:])

    assert matches("topic", ".".join(pattern), ".".join(key)) is fits(pattern, key)


@pytest.fixture
def table() -> RoutingTable:
    table = RoutingTable()
    topic, fanout = Exchange("t", "topic"), Exchange("f", "fanout")
    queues = [Queue("a", topic, "a.*"), Queue("b", topic, "#"), Queue("c", fanout)]
    table.add(Topology.of(queues, bindings=[Binding("t", "a", "a.b"), Binding("f", "a")]))
    return table


@pytest.mark.parametrize(
    ("exchange", "key", "queues"),
    [
        ("", "a", ["a"]),
        ("", "nowhere", []),
        ("t", "a.b", ["a", "b"]),
        ("t", "z", ["b"]),
        ("f", "whatever", ["a", "c"]),
        ("unknown", "a", []),
    ],
)
def test_a_table_names_each_queue_once(table: RoutingTable, exchange: str, key: str, queues: list[str]) -> None:
    assert table.route(exchange, key) == queues


def test_a_removed_queue_is_routed_to_no_more(table: RoutingTable) -> None:
    table.remove_queue("a")
    assert table.route("", "a") == []
    assert table.route("t", "a.b") == ["b"]
    assert table.route("f", "") == ["c"]
    table.remove_queue("a")
