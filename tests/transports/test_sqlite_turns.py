"""How a claim is shared among queues: in turn, and without asking any for more than it can have to give."""

from __future__ import annotations

from itertools import islice, zip_longest
from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st

from celeriac_sqlite.operations import claim
from celeriac_sqlite.operations.claim import Candidate


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 200))
@example([0] * 99 + [300], 250)
@example([3] * 99 + [0], 299)
def test_the_next_are_those_of_asking_each_for_all(lengths: list[int], limit: int) -> None:
    kept = {number: [Candidate(n, 1, f"q{number}") for n in range(length)] for number, length in enumerate(lengths)}
    rows = asked = 0

    def candidates(_database, queues, most):
        nonlocal rows, asked
        asked += 1
        found = {number: kept[number][:most] for number in queues}
        rows += sum(map(len, found.values()))
        return found

    with mock.patch.object(claim, "candidates", candidates):
        found = claim._in_turn(claim._shares(None, {number: f"q{number}" for number in kept}, limit), limit)
    turns = zip_longest(*kept.values())
    assert found == list(islice((one for turn in turns for one in turn if one is not None), limit))
    assert rows <= asked * (2 * limit + len(lengths))
