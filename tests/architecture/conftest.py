"""The source of the house, parsed: what the checks of this folder look at."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CORE = "celeriac"


@dataclass(frozen=True)
class Import:
    """``importer`` needs ``target`` at run time; ``deferred`` imports stand inside a function."""

    importer: str
    target: str
    line: int
    deferred: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


@dataclass(frozen=True)
class Module:
    """One file: its dotted name, and where it is."""

    name: str
    path: Path

    def __str__(self) -> str:
        return self.name

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def folder(self) -> str:
        """The folder of the checkout that holds its package."""
        return self.path.relative_to(ROOT).parts[0]

    @property
    def in_core(self) -> bool:
        return self.package == CORE

    def within(self, name: str) -> bool:
        return self.name == name or self.name.startswith(f"{name}.")


@dataclass(frozen=True)
class House:
    """Every module of the core, of our own transports and of our own plugins."""

    modules: tuple[Module, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(module.name for module in self.modules)

    @property
    def core(self) -> list[Module]:
        return [module for module in self.modules if module.in_core]

    @property
    def transports(self) -> list[Module]:
        return [module for module in self.modules if module.folder == "transports"]

    @property
    def plugins(self) -> list[Module]:
        return [module for module in self.modules if module.folder == "plugins"]

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """What is imported at run time; what stands under ``TYPE_CHECKING`` is not."""
        return tuple(found for module in self.modules for found in self._imports_of(module))

    def _imports_of(self, module: Module) -> Iterator[Import]:
        for node, deferred in _runtime_imports(module.tree, deferred=False):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                assert node.level == 0, f"{module}:{node.lineno}: a relative import hides where it leads"
                assert node.module is not None
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [name if name in self.names else node.module for name in full]
            for target in dict.fromkeys(targets):
                yield Import(module.name, target, node.lineno, deferred)


def _runtime_imports(node: ast.AST, *, deferred: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, deferred
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield from _runtime_imports(other, deferred=deferred)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _runtime_imports(child, deferred=deferred or inside)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _modules_below(folder: Path) -> Iterator[Module]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        yield Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path)


@pytest.fixture(scope="session")
def house() -> House:
    found = tuple(module for folder in ("core", "transports", "plugins") for module in _modules_below(ROOT / folder))
    assert {"celeriac", "celeriac.worker.worker", "celeriac_memory.transport"} <= {module.name for module in found}
    return House(found)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT
