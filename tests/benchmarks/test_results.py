"""Medians, ratios and tables out of what was measured."""

from __future__ import annotations

import pytest
from benchmarks.model import Target
from benchmarks.report import BEGIN, END, is_reached, markdown, shown, write_between_markers
from benchmarks.results import Results, Spread

ROW = "idle"
OURS, THEIRS = "celeriac -c 2", "Celery prefork -c 2"
TARGET = Target(ours=OURS, against=THEIRS, figure="pss", must=0.9, aim=0.6, lower=True)


@pytest.fixture
def results(tmp_path):
    about = {
        "machine": "2 cores",
        "system": "Linux",
        "brokers": ["RabbitMQ 3.10"],
        "versions": ["celeriac 0.1.0"],
        "date": "2030-01-01 00:00 UTC",
        "command": "python -m benchmarks",
        "rounds": 3,
        "quick": False,
    }
    made = Results(about=about, file=tmp_path / "results.json")
    for number, (ours, theirs) in enumerate([(50.0, 100.0), (60.0, 100.0), (300.0, 400.0)]):
        made.add(ROW, OURS, number, {"pss": ours}, 0.1)
        made.add(ROW, THEIRS, number, {"pss": theirs}, 0.1)
    return made


def test_a_figure_is_the_median_with_the_lowest_and_the_highest(results):
    assert results.figure(ROW, OURS, "pss") == Spread(60.0, 50.0, 300.0, 3)
    assert results.figure(ROW, "nobody", "pss") is None


def test_a_ratio_is_taken_within_each_round(results):
    """A round in which the machine was slow is slow for both."""
    assert results.ratio(ROW, TARGET) == Spread(0.6, 0.5, 0.75, 3)


def test_a_ratio_leaves_out_rounds_that_failed(results):
    results.fail(ROW, OURS, 3, "BenchError: 3 of 4 tasks ran")
    results.add(ROW, THEIRS, 3, {"pss": 1.0}, 0.1)
    assert results.ratio(ROW, TARGET).rounds == 3
    assert results.errors(ROW, OURS) == 1


def test_without_anyone_to_compare_with_the_figure_stands_alone(results):
    alone = Target(ours=OURS, against=None, figure="pss", must=100, aim=0, lower=True)
    assert results.ratio(ROW, alone).median == 60.0


@pytest.mark.parametrize(("ratio", "reached"), [(0.95, "no"), (0.9, "yes"), (0.6, "aim")])
def test_less_is_better_where_a_target_says_so(ratio, reached):
    assert is_reached(TARGET, Spread(ratio, ratio, ratio, 1)) == reached


@pytest.mark.parametrize(("ratio", "reached"), [(4.9, "no"), (5.0, "yes"), (8.0, "aim")])
def test_more_is_better_otherwise(ratio, reached):
    assert is_reached(Target(ours="", against="", must=5, aim=8), Spread(ratio, ratio, ratio, 1)) == reached


def test_what_was_kept_is_read_again(results):
    again = Results.load(results.file)
    assert again.ratio(ROW, TARGET) == results.ratio(ROW, TARGET)
    assert markdown(again) == markdown(results)


def test_runs_of_different_rows_are_shown_together(results, tmp_path):
    other = Results(about={**results.about, "rounds": 5}, file=tmp_path / "other.json")
    other.add("start", OURS, 0, {"seconds": 1.0}, 0.1)
    both = Results.load(results.file, other.file)
    assert both.rows == ["start", ROW]
    assert both.about["rounds"] == 3
    with pytest.raises(ValueError, match="rows that another file has too: idle"):
        Results.load(results.file, results.file)


def test_runs_on_two_machines_say_so(results, tmp_path):
    files = [results.file]
    for number, machine in enumerate(["12 cores", "2 cores"]):
        other = Results(about={**results.about, "machine": machine}, file=tmp_path / f"{number}.json")
        other.add(f"row {number}", OURS, 0, {"seconds": 1.0}, 0.1)
        files.append(other.file)
    assert Results.load(*files).about["machine"] == "2 cores / 12 cores"
    assert Results.load(*files[1:], files[0]).about["machine"] == "12 cores / 2 cores"


def test_the_report_names_the_ratio_the_goals_and_who_was_left_out(results):
    results.leave_out(ROW, "Dramatiq -p 2 -t 4", "--peers does not name dramatiq")
    results.fail(ROW, OURS, 3, "BenchError: no")
    text = markdown(results)
    assert (
        "| celeriac -c 2: 60.0 PSS MB | Celery prefork -c 2: 100.0 PSS MB | 0.6 (0.5 to 0.75) | <= 0.9 | 0.6 | aim |"
        in text
    )
    assert "Left out: Dramatiq -p 2 -t 4 (--peers does not name dramatiq)." in text
    assert "celeriac -c 2 (1 rounds failed)" in text
    assert "mean nothing" not in text


def test_the_table_stands_between_its_markers(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    write_between_markers(page, "new\n")
    assert page.read_text() == f"above\n{BEGIN}\n\nnew\n\n{END}\nbelow\n"
    page.write_text("no markers\n")
    with pytest.raises(ValueError, match="write them where the table shall stand"):
        write_between_markers(page, "new")


def test_figures_are_shown_with_as_many_digits_as_mean_something():
    assert [shown(value) for value in (12345.6, 123.45, 1.2345, 0.0459, 0)] == [
        "12,346",
        "123.5",
        "1.23",
        "0.0459",
        "0",
    ]
