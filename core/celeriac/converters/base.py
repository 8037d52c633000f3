"""What a converter is: one annotation's two ways, from a value to plain data and back, each of which validates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN = 60


class Invalid(Exception):  # noqa: N818  never leaves this package: `celeriac.converters.call` makes a ValidationError of it
    """A value is not what its annotation says.

    Attributes:
        problem: what is wrong; of the value itself only what an enumeration or a literal must show.
        steps: the way up from the culprit, the innermost step first.
    """

    def __init__(self, problem: str) -> None:
        """Say what is wrong; who holds the value adds the step that led to it."""
        super().__init__(problem)
        self.problem = problem
        self.steps: list[str] = []

    def at(self, step: str) -> Invalid:
        """Return it, one step further up."""
        self.steps.append(step)
        return self


class Converter(ABC):
    """One annotation.

    Plain data is what every codec carries: ``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``, moments,
    ``Decimal``, ``UUID``, lists of these, and dicts of these by text.

    Attributes:
        exact: values of exactly these types are valid, and their own plain form.
    """

    exact: frozenset[type] = frozenset()
    free: ClassVar[bool] = False  # takes anything as it is

    @abstractmethod
    def dump(self, value: Any) -> Any:
        """Return ``value`` as plain data.

        Raises:
            Invalid: it is not what the annotation says.
        """

    @abstractmethod
    def load(self, plain: Any) -> Any:
        """Return the value that ``plain`` stands for; raises as `dump`."""


class Later(Converter):
    """A converter that is made when it is first needed, as that of what is made of itself must be."""

    def __init__(self, make: Callable[[], Converter]) -> None:
        """Be what ``make`` returns."""
        self._make = make

    @cached_property
    def _made(self) -> Converter:
        return self._make()

    def dump(self, value: Any) -> Any:
        """Return it as plain data."""
        return self._made.dump(value)

    def load(self, plain: Any) -> Any:
        """Return what it stands for."""
        return self._made.load(plain)


def expected(what: str, value: object) -> Invalid:
    """Return the error for a value of another type; it shows the type alone, as a value may be a secret."""
    return Invalid(f"expected {what}, not {type(value).__qualname__}")
