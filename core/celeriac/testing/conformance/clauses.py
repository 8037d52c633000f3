"""How a test says which clauses it checks, and for which brokers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from celeriac.testing.conformance.case import Case
    from celeriac.testing.conformance.transport_case import TransportCase
    from celeriac.transport import Capabilities

C = TypeVar("C", bound="Case")
T = TypeVar("T", bound="TransportCase")


def clause(*ids: str) -> Callable[[Callable[[C], Coroutine[Any, Any, None]]], Callable[[C], None]]:
    """Make a coroutine method a pytest test of the clauses ``ids``, run on a loop of its own, within bounded time."""

    def mark(test: Callable[[C], Coroutine[Any, Any, None]]) -> Callable[[C], None]:
        @functools.wraps(test)
        def run(self: C) -> None:
            self.run(test(self))

        run.clauses = ids  # type: ignore[attr-defined]
        return run

    return mark


def clauses_of(contract: type[Case]) -> dict[str, list[str]]:
    """Return the names of the tests of ``contract`` by the clause they cite."""
    cited: dict[str, list[str]] = {}
    for name in dir(contract):
        for one in getattr(getattr(contract, name), "clauses", ()):
            cited.setdefault(one, []).append(name)
    return cited


def declares(capabilities: Capabilities, name: str) -> bool:
    """Return whether the capability ``name`` is there at all."""
    if name == "priority_levels":
        return capabilities.priority_levels > 1
    value = getattr(capabilities, name)
    return value is not None and value is not False


def requires(
    *names: str,
) -> Callable[[Callable[[T], Coroutine[Any, Any, None]]], Callable[[T], Coroutine[Any, Any, None]]]:
    """Run the test where all capabilities ``names`` are declared."""
    return _selected(names, declared=True)


def lacks(
    name: str,
) -> Callable[[Callable[[T], Coroutine[Any, Any, None]]], Callable[[T], Coroutine[Any, Any, None]]]:
    """Run the test where the capability ``name`` is not declared: what it would offer must be refused."""
    return _selected((name,), declared=False)


def _selected(
    names: tuple[str, ...], *, declared: bool
) -> Callable[[Callable[[T], Coroutine[Any, Any, None]]], Callable[[T], Coroutine[Any, Any, None]]]:
    def mark(test: Callable[[T], Coroutine[Any, Any, None]]) -> Callable[[T], Coroutine[Any, Any, None]]:
        @functools.wraps(test)
        async def run(self: T) -> None:
            for name in names:
                # only a queue that asks for priorities says whether there are any
                known = await self.capabilities(priorities=10 if name == "priority_levels" else 1)
                if declares(known, name) is not declared:
                    pytest.skip(f"the capability {name} is {'not ' if declared else ''}declared")
            await test(self)

        return run

    return mark
