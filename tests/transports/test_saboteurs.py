"""The kit must catch every transport of `sabotage` by the clause it breaks.

The honest transport passes the same tests, all of them, in test_memory_contract.py.
"""

import pytest
import sabotage.keeping
import sabotage.receiving
import sabotage.sending  # noqa: F401 - each of the three adds its saboteurs
from sabotage.trial import SABOTEURS, Spoiled, try_on

from celeriac.testing import TransportContract
from celeriac.testing.conformance.clauses import clauses_of

CLAUSES = clauses_of(TransportContract)


@pytest.mark.parametrize(("saboteur", "clause", "test"), SABOTEURS)
def test_a_saboteur_is_caught(saboteur, clause, test):
    assert test in CLAUSES[clause], f"{test} does not cite {clause}"
    with pytest.raises((Exception, pytest.fail.Exception)) as raised:
        try_on(saboteur, test)
    assert not isinstance(raised.value, (AttributeError, NameError, TypeError)), "the saboteur itself is broken"


@pytest.mark.parametrize("test", ["test_receipts_in_order", "test_leaving_gives_back", "test_a_lost_lease"])
def test_who_spoils_nothing_passes(test):
    try_on(Spoiled, test, patience=10)


def test_every_section_has_a_saboteur():
    sabotaged = {saboteur.values[1].partition("-")[0] for saboteur in SABOTEURS}
    assert sabotaged == {clause.partition("-")[0] for clause in CLAUSES}
