"""What docs/how-to/writing-a-transport.md calls public is all that a plugin needs: our example takes no more."""

from __future__ import annotations

import ast
import importlib
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "how-to" / "writing-a-transport.md").read_text(encoding="utf-8")


@pytest.fixture
def public(page: str) -> set[str]:
    """The first column of the page's first table."""
    table = page[page.index("| module |") : page.index("The plan is")]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(celeriac\.\w+)`", row)}


def test_every_public_module_is_there_with_what_is_named(page: str, public: set[str]) -> None:
    assert "celeriac.transport" in public
    for row in re.findall(r"^\| (`celeriac\..*?`) \| (.*) \|$", page, re.MULTILINE):
        modules = [importlib.import_module(name) for name in re.findall(r"`(celeriac\.\w+)`", row[0])]
        for name in re.findall(r"`(\w+)`", row[1]):
            assert any(hasattr(module, name) for module in modules), f"{row[0]}: {name}"


def test_the_example_imports_public_modules_only(root: Path, public: set[str]) -> None:
    folder = root / "examples" / "transport-nats"
    for path in folder.rglob("*.py"):
        odd = set(_ours(path.read_text(encoding="utf-8"))) - public
        assert not odd, f"{path.relative_to(root)} imports {odd}"


def test_the_example_on_the_page_imports_public_modules_only(page: str, public: set[str]) -> None:
    found = set(re.findall(r"^from (celeriac[.\w]*) import", page, re.MULTILINE)) - {"celeriac"}
    assert {name for name in found if not name.startswith("celeriac_")} <= public


def _ours(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "celeriac":
            yield node.module
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "celeriac")
