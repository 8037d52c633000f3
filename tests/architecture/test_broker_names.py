"""Broker names stand in no code of the core or of the kit: capabilities are data, and code asks them."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.architecture.conftest import House, Module

# "memory" alone is also what a process uses; as a broker it stands in a URL or in its package's name
NAMES = re.compile(r"amqp|rabbit|redis|sqlite|(?<![a-z])memory://|celeriac_memory", re.IGNORECASE)
ALLOWED = {
    ("celeriac.addresses", "sqlite:///"): "the broker of an App that names none",
    ("celeriac.addresses", "no broker was given; using the SQLite file %s"): "the same, said to people",
    ("celeriac.testing.sandbox.broker", "memory://"): "the broker that a sandbox puts faults before",
    ("celeriac.connection", "memory://"): "the broker of an App that runs tasks where they are sent",
    ("celeriac.plugins", " URL; write scheme://..., say sqlite:///celeriac.db"): "an example for people",
    (
        "celeriac.settings",
        "Addresses of one broker cluster, tried in order (a list, or `;` between). None: a SQLite file.",
    ): "the default, said to people",
}


def test_no_broker_name_in_code(house: House) -> None:
    wrong = [
        f"{module}:{line}: {text!r}"
        for module in house.core
        for line, text in _words(module)
        if NAMES.search(text) and (module.name, text) not in ALLOWED
    ]
    assert not wrong, "\n".join(wrong)


def _words(module: Module) -> Iterator[tuple[int, str]]:
    """Yield identifiers and strings; docstrings are for people and may give examples."""
    docstrings = set(_docstrings(module))
    for node in ast.walk(module.tree):
        if node in docstrings:
            continue
        match node:
            case ast.Constant(value=str(text)):
                yield node.lineno, text
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.alias(name=name, asname=asname):
                yield node.lineno, f"{name} {asname or ''}"


def _docstrings(module: Module) -> Iterator[ast.AST]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value  # of a module, class or function, or what is written below an attribute
