"""Annotations of single values: numbers, text, moments, paths, enumerations, literals."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from celeriac.converters.base import SHOWN, Converter, Invalid, expected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from enum import Enum
    from pathlib import PurePath


class Anything(Converter):
    """No annotation, or one that says nothing about data: the codec decides."""

    free = True

    def dump(self, value: Any) -> Any:
        """Return it as it is."""
        return value

    def load(self, plain: Any) -> Any:
        """Return it as it is."""
        return plain


class Nothing(Converter):
    """``None``."""

    exact = frozenset({type(None)})

    def dump(self, value: Any) -> None:
        """Take ``None`` alone."""
        if value is not None:
            raise expected("None", value)

    def load(self, plain: Any) -> None:
        """Take ``None`` alone."""
        return self.dump(plain)


class Scalar(Converter):
    """A type whose values codecs carry; one that came as text, from another language say, is read by ``parse``."""

    def __init__(self, kind: type, parse: Callable[[str], Any] | None = None, *, not_a: type | None = None) -> None:
        """Take instances of ``kind``, but none of ``not_a``, which is a subclass of it and means something else."""
        self.exact = frozenset({kind})
        self._kind = kind
        self._parse = parse
        self._not_a = not_a

    def dump(self, value: Any) -> Any:
        """Return it; of an instance of a subclass, an ``IntEnum``'s member say, what it is an instance of."""
        if not isinstance(value, self._kind) or (self._not_a is not None and isinstance(value, self._not_a)):
            raise expected(self._kind.__qualname__, value)
        plain = _PLAIN.get(self._kind)
        return value if plain is None or type(value) in {self._kind, bool} else plain(value)

    def load(self, plain: Any) -> Any:
        """Return it as it is, or what its text stands for."""
        if self._parse is None or not isinstance(plain, str):
            return self.dump(plain)
        try:
            return self._parse(plain)
        except (ArithmeticError, ValueError):
            raise Invalid(f"{plain!r:.{SHOWN}} is no {self._kind.__qualname__}") from None


_PLAIN: dict[type, Callable[[Any], Any]] = {int: int.__int__, str: str.__str__}


class Float(Converter):
    """``float``: an ``int`` is one too, as type checkers have it."""

    exact = frozenset({float})

    def dump(self, value: Any) -> Any:
        """Return it as it is."""
        if not isinstance(value, float | int):
            raise expected("float", value)
        return value

    def load(self, plain: Any) -> float:
        """Return a float."""
        try:
            return float(self.dump(plain))
        except OverflowError:
            raise Invalid("the number is too large for a float") from None


class Duration(Converter):
    """``timedelta``, as seconds; exact to the microsecond up to 272 years."""

    def dump(self, value: Any) -> float:
        """Return the seconds."""
        if not isinstance(value, timedelta):
            raise expected("timedelta", value)
        return value.total_seconds()

    def load(self, plain: Any) -> timedelta:
        """Return the duration of so many seconds."""
        if not isinstance(plain, float | int):
            raise expected("seconds", plain)
        try:
            return timedelta(microseconds=round(Decimal(repr(plain)).scaleb(6)))  # a float's own product would be off
        except (ArithmeticError, ValueError):
            raise Invalid("the number of seconds is too large for a timedelta") from None


class PathOf(Converter):
    """`pathlib` paths, as text."""

    def __init__(self, cls: type[PurePath]) -> None:
        """Take instances of ``cls``."""
        self._cls = cls

    def dump(self, value: Any) -> str:
        """Return the text."""
        if not isinstance(value, self._cls):
            raise expected(self._cls.__qualname__, value)
        return str(value)

    def load(self, plain: Any) -> PurePath:
        """Return the path."""
        if not isinstance(plain, str):
            raise expected("a path's text", plain)
        return self._cls(plain)


class EnumOf(Converter):
    """An enumeration: by value where all values are plain, otherwise by name."""

    def __init__(self, cls: type[Enum]) -> None:
        """Take the members of ``cls``."""
        self._cls = cls
        self._by_value = all(isinstance(member.value, int | str | float) for member in cls)

    def dump(self, value: Any) -> Any:
        """Return the value, or the name."""
        if not isinstance(value, self._cls):
            raise expected(self._cls.__qualname__, value)
        return value.value if self._by_value else value.name

    def load(self, plain: Any) -> Enum:
        """Return the member."""
        try:
            return self._cls(plain) if self._by_value else self._cls[plain]
        except Exception:  # noqa: BLE001  ``_missing_`` is user code
            raise Invalid(f"{plain!r:.{SHOWN}} is no {self._cls.__qualname__}") from None


class OneOf(Converter):
    """``Literal``: one of some values, and of its type too, as 1 is not True."""

    def __init__(self, choices: Sequence[Any], dump: Callable[[Any], Any]) -> None:
        """Take ``choices``, each carried as ``dump`` says."""
        self._choices = choices
        self._plain = [dump(choice) for choice in choices]

    def dump(self, value: Any) -> Any:
        """Return the plain form of the choice."""
        return self._plain[self._find(self._choices, value)]

    def load(self, plain: Any) -> Any:
        """Return the choice."""
        return self._choices[self._find(self._plain, plain)]

    def _find(self, among: Sequence[Any], value: Any) -> int:
        for place, choice in enumerate(among):
            if type(choice) is type(value) and choice == value:
                return place
        raise Invalid(f"{value!r:.{SHOWN}} is none of {', '.join(map(repr, self._choices))}")


SCALARS: dict[Any, Converter] = {
    bool: Scalar(bool),
    int: Scalar(int),
    float: Float(),
    str: Scalar(str),
    bytes: Scalar(bytes),
    datetime: Scalar(datetime, datetime.fromisoformat),
    date: Scalar(date, date.fromisoformat, not_a=datetime),
    time: Scalar(time, time.fromisoformat),
    Decimal: Scalar(Decimal, Decimal),
    UUID: Scalar(UUID, UUID),
    timedelta: Duration(),
    None: Nothing(),
    type(None): Nothing(),
}
