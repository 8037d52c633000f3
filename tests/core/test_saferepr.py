import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.saferepr import saferepr


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no")


class Surrogate:
    def __repr__(self):
        return "\ud800" * 5


small = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=10) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(small)
def test_what_is_small_is_shown_as_repr_shows_it(value):
    assert saferepr(value, depth=10) == repr(value)


@pytest.mark.parametrize("value", [(), [], {}, set(), frozenset(), (1,), [1], {1}, frozenset({1}), {1: (2,)}, "", b""])
def test_every_container_looks_like_itself(value):
    assert saferepr(value) == repr(value)


def test_depth_is_bounded():
    assert saferepr([1, [2, [3, [4]]]]) == "[1, [2, [3, [...]]]]"
    assert saferepr([[[{"a": 1}]]]) == "[[[{...}]]]"
    cycle: list = []
    cycle.append(cycle)
    assert saferepr(cycle) == "[[[[...]]]]"


@given(st.lists(st.text(max_size=30) | st.integers() | st.lists(st.text(max_size=5))), st.integers(3, 60))
def test_length_is_bounded(value, limit):
    shown = saferepr(value, limit)
    assert len(shown) <= limit
    assert shown == repr(value) or shown.endswith("...") or "[...]" in shown


HUGE = {
    "str": lambda: "x" * 10**8,
    "bytes": lambda: b"x" * 10**8,
    "list": lambda: [0] * 10**7,
    "dict": lambda: dict.fromkeys(range(10**6)),
    "nested": lambda: [[0] * 10**7],
}


@pytest.mark.parametrize("make", HUGE.values(), ids=HUGE)
def test_a_huge_value_costs_no_more_than_what_is_shown(make):
    value = make()
    before = time.process_time()
    assert len(saferepr(value)) <= 1024
    assert time.process_time() - before < 0.05


def test_it_never_raises_and_can_always_be_sent():
    assert saferepr([Unprintable(), 1]) == "[<Unprintable object that cannot be shown>, 1]"
    assert saferepr(Surrogate()) == r"\ud800" * 5
    assert saferepr("\ud800") == r"'\ud800'"
    assert saferepr(10**5000) == "<int object that cannot be shown>"
    assert saferepr([10**5000, 1]) == "[<int object that cannot be shown>, 1]"
