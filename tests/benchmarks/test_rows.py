"""The suite is whole: every row can be read by a stranger, and says what it compares."""

from __future__ import annotations

from pathlib import Path

import benchmarks
import pytest
from benchmarks.environments import BARE, OURS, PEERS
from benchmarks.report import HEADS
from benchmarks.rows import NAMES, rows

FOLDER = Path(benchmarks.__file__).parent
LONGEST_FILE = 300


@pytest.fixture(params=NAMES)
def row(request):
    return rows((request.param,))[request.param]


def test_every_file_of_rows_is_a_row():
    assert {path.stem for path in (FOLDER / "rows").glob("*.py")} - {"__init__"} == set(NAMES)


def test_contenders_have_names_of_their_own(row):
    names = [contender.name for contender in row.contenders]
    assert len(set(names)) == len(names)


def test_targets_speak_of_contenders_and_of_figures_that_are_shown(row):
    names = {contender.name for contender in row.contenders}
    for target in row.targets:
        assert target.ours in names
        assert target.against is None or target.against in names
        assert target.figure in row.shown


def test_a_moonshot_lies_beyond_its_target(row):
    for target in row.targets:
        assert target.aim < target.must if target.lower else target.aim > target.must


def test_every_figure_has_a_heading(row):
    assert set(row.shown) <= HEADS.keys()


def test_every_contender_has_an_environment_and_a_module(row):
    for contender in row.contenders:
        assert contender.peer in {*PEERS, OURS}
        assert not contender.system or (FOLDER / "systems" / f"{contender.system}.py").exists()


def test_a_contender_with_a_broker_tells_its_terms(row):
    for contender in row.contenders:
        if contender.broker != "none" and contender.peer != BARE:
            assert "-" not in {contender.terms.queue, contender.terms.confirms, contender.terms.fsync}, contender.name


def test_a_quick_run_has_few_tasks(row):
    for contender in row.contenders:
        measure = (contender.measure or row.measure).quick()
        assert getattr(measure, "tasks", 0) <= 200


def test_no_file_is_long():
    long = [path for path in FOLDER.rglob("*.py") if path.read_text().count("\n") > LONGEST_FILE]
    assert not long
