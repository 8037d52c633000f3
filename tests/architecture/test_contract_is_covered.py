"""Every clause of the written contracts has a test in the conformance kit, and the kit cites no other."""

import re
from pathlib import Path

import pytest

from celeriac.testing import ResultStoreContract, TransportContract
from celeriac.testing.conformance.clauses import clauses_of

DOCS = Path(__file__).parents[2] / "docs"
CONTRACTS = [("transport-contract.md", TransportContract), ("reference/result-store-contract.md", ResultStoreContract)]


def written(document):
    return re.findall(r"^- \*\*([A-Z]+-\d+)\*\*", (DOCS / document).read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize(("document", "contract"), CONTRACTS)
def test_each_clause_has_a_test_and_each_test_a_clause(document, contract):
    clauses, cited = written(document), clauses_of(contract)
    assert len(clauses) == len({*clauses}), "a clause id is used twice"
    assert clauses, document
    assert {*clauses} - {*cited} == set(), "clauses without a test"
    assert {*cited} - {*clauses} == set(), "tests of clauses that are not written"


@pytest.mark.parametrize(("document", "contract"), CONTRACTS)
def test_every_test_cites_a_clause(document, contract):
    citing = {name for names in clauses_of(contract).values() for name in names}
    assert {name for name in dir(contract) if name.startswith("test_")} == citing


@pytest.mark.parametrize(("document", "contract"), CONTRACTS)
def test_no_section_hides_a_test_of_another(document, contract):
    names = [name for section in contract.__mro__ for name in vars(section) if name.startswith("test_")]
    assert sorted(names) == sorted({*names})


def test_the_virtual_clock_needs_no_pytest(run_python):
    run_python("import sys, celeriac.testing; celeriac.testing.VirtualClock(); assert 'pytest' not in sys.modules")


@pytest.fixture
def run_python():
    import subprocess
    import sys

    return lambda code: subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
