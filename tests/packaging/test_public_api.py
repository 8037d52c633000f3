"""A public name, or its signature, changes only together with the list of them; then the changelog says so."""

from __future__ import annotations

import difflib

import pytest
from tests.packaging.surface import STORED, modules, surface

import celeriac
from celeriac import App


def test_the_public_api_is_the_one_that_is_listed() -> None:
    stored = STORED.read_text(encoding="utf-8").splitlines()
    changed = list(difflib.unified_diff(stored, surface().splitlines(), "listed", "found", lineterm="", n=0))
    assert not changed, "\n".join(["if this is meant: python -m tests.packaging --write, and CHANGELOG.md", *changed])


def test_what_is_public_is_in_the_list() -> None:
    lines = surface().splitlines()
    assert all(any(f"celeriac.{name}" in line for line in lines) for name in celeriac.__all__)
    assert {"celeriac.transport", "celeriac.errors", "celeriac.hookspecs"} <= modules()
    assert "class celeriac.Exchange(name: str, type: ExchangeType = 'direct')" in lines
    assert "celeriac.Queue.priorities: int" in lines
    assert "celeriac.App.tasks" in lines  # made by its constructor, and named in its docstring


def _told(self: App, timeout: float = 5.0) -> None: ...


@pytest.mark.parametrize(("name", "value"), [("flush", _told), ("flush_all", _told), ("flush", 5)])
def test_a_change_is_seen(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    before = surface()
    monkeypatch.setattr(App, name, value, raising=False)
    assert surface() != before


def test_a_name_that_is_gone_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(surface().splitlines())
    monkeypatch.delattr(App, "worker_main")
    (gone,) = before - set(surface().splitlines())
    assert gone.startswith("def celeriac.App.worker_main(")
