"""The core and the memory transport read the time, sleep and draw only through a `Clock` and an injected `Random`.

The conformance kit is free of this: it waits for real brokers, in real time.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.architecture.conftest import House, Module

FORBIDDEN = {
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.sleep",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "datetime.datetime.now",
    "asyncio.sleep",
}
MODULES = {"time", "random"}  # imported nowhere: neither whole, nor by `from`
HOME = "celeriac.clock"
ALLOWED_IMPORTS = {
    ("celeriac.parts", "random", "Random"): "makes the Random that it injects",
    ("celeriac.cli.health", "time", "monotonic"): "must answer fast, and needs no more of a clock",
    ("celeriac.testing.simulation.chance", "random", "Random"): "makes the seeded one of a simulation",
}


def test_nothing_reads_the_time_but_the_clock(house: House) -> None:
    wrong = [
        f"{module}:{line}: {what}" for module in house.modules if _is_bound(module) for line, what in _uses(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_clock_does(house: House) -> None:
    clock = next(module for module in house.core if module.name == HOME)
    assert {"time.monotonic", "datetime.now", "asyncio.sleep"} <= {what for _, what in _uses(clock)}


def _is_bound(module: Module) -> bool:
    if module.within("celeriac.testing.conformance"):
        return False
    return (module.in_core and module.name != HOME) or module.package == "celeriac_memory"


def _uses(module: Module) -> Iterator[tuple[int, str]]:
    only_for_types = set(_only_for_types(module))
    for node in ast.walk(module.tree):
        if node in only_for_types:
            continue
        match node:
            case ast.Attribute():
                name = ast.unparse(node)
                if name in FORBIDDEN and node not in set(_turns(module)):
                    yield node.lineno, name
            case ast.ImportFrom(module=str(origin), names=names) if origin in MODULES:
                for alias in names:
                    if (module.name, origin, alias.name) not in ALLOWED_IMPORTS:
                        yield node.lineno, f"from {origin} import {alias.name}"
            case ast.Import(names=names) if module.name != HOME:
                yield from ((node.lineno, f"import {alias.name}") for alias in names if alias.name in MODULES)


def _turns(module: Module) -> Iterator[ast.expr]:
    """Yield the ``asyncio.sleep`` of each ``asyncio.sleep(0)``: a turn for others, which takes no time."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ast.unparse(node) == "asyncio.sleep(0)":
            yield node.func


def _only_for_types(module: Module) -> Iterator[ast.AST]:
    for block in module.tree.body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            yield from ast.walk(block)
