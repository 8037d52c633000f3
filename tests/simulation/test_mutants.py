"""Every planted fault is found, within so many seeds, by the promise that it breaks."""

from __future__ import annotations

import pytest
from mutants import MUTANTS

from celeriac.testing.simulation import simulate
from celeriac.testing.simulation.command import main


@pytest.mark.parametrize(("plant", "promise", "seeds"), MUTANTS, ids=lambda each: getattr(each, "__name__", None))
def test_it_is_found(plant, promise, seeds, monkeypatch):
    plant(monkeypatch)
    for seed in range(seeds):
        report = simulate(seed)
        if promise in {violation.promise for violation in report.violations}:
            return
    pytest.fail(f"{plant.__name__} was not found in {seeds} seeds")


def test_what_was_found_is_told_by_its_seed(monkeypatch, capsys):
    plant, promise, _ = next(each for each in MUTANTS if each[0].__name__ == "forgets_the_next_attempt")
    plant(monkeypatch)
    seed = next(seed for seed in range(30) if not simulate(seed).ok)
    assert main(["--seeds", "1", "--first", str(seed)]) == 1
    told = capsys.readouterr().out
    assert f"seed {seed}: {promise}" in told
    assert f"python -m celeriac.testing.simulation --seed {seed} --verbose" in told
    assert main(["--seed", str(seed), "--verbose"]) == 1
    story = capsys.readouterr().out
    assert "run ends: Retried" in story
    assert f"BROKEN {promise}" in story
    first = simulate(seed).violations[0]
    lines = [line for line in story.splitlines() if " stored as copy " in line]
    assert lines
    assert all(first.task_id in line for line in lines), "only the task concerned is told of"
