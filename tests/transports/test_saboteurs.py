"""The kit must catch every transport of `sabotage` by the clause it breaks.

The honest transport passes the same tests, all of them, in test_memory_contract.py.
"""

import pytest
import sabotage.keeping
import sabotage.receiving
import sabotage.sending  # noqa: F401 - each of the three adds its saboteurs
from sabotage.modest import Modest
from sabotage.trial import SABOTEURS, Spoiled, try_on

from celeriac.testing import TransportContract
from celeriac.testing.conformance.clauses import clauses_of

CLAUSES = clauses_of(TransportContract)
REFUSALS = [
    "test_delays_are_refused",
    "test_requeue_with_a_delay_is_refused",
    "test_without_a_lease",
    "test_no_count_rather_than_a_wrong_one",
    "test_peek_is_refused",
    "test_pause_is_refused",
    "test_revocations_are_refused",
]


@pytest.mark.parametrize(("saboteur", "clause", "test"), SABOTEURS)
def test_a_saboteur_is_caught(saboteur, clause, test):
    assert test in CLAUSES[clause], f"{test} does not cite {clause}"
    with pytest.raises((Exception, pytest.fail.Exception)) as raised:
        try_on(saboteur, test)
    assert not isinstance(raised.value, (AttributeError, NameError, TypeError)), "the saboteur itself is broken"


@pytest.mark.parametrize("test", ["test_receipts_in_order", "test_leaving_gives_back", "test_a_lost_lease"])
def test_who_spoils_nothing_passes(test):
    try_on(Spoiled, test, patience=10)


@pytest.mark.parametrize("test", REFUSALS)
def test_refusing_is_honest(test):
    try_on(Modest, test, patience=10)


@pytest.mark.parametrize("test", REFUSALS)
def test_there_is_nothing_to_refuse_for_who_can_do_everything(test):
    with pytest.raises(pytest.skip.Exception, match="is declared"):
        try_on(Spoiled, test)


def test_every_section_has_a_saboteur():
    sabotaged = {saboteur.values[1].partition("-")[0] for saboteur in SABOTEURS}
    assert sabotaged == {clause.partition("-")[0] for clause in CLAUSES}
