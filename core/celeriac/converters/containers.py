"""Annotations that hold others: lists, sets, tuples, dicts and unions."""

from __future__ import annotations

import json
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from celeriac.converters.base import Converter, Invalid, expected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Items(Converter):
    """Any number of items of one annotation, as a list."""

    def __init__(self, what: str, takes: Any, make: Callable[[list[Any]], Any], item: Converter) -> None:
        """Take instances of ``takes``, and make what is called ``what`` again of a list."""
        self._what = what
        self._takes = takes
        self._make = make
        self._item = item
        self._is_list = make is list

    def dump(self, value: Any) -> list[Any]:
        """Return a list of plain items."""
        if not isinstance(value, self._takes):
            raise expected(self._what, value)
        return list(value) if self._item.free else _each(self._item.dump, value)

    def load(self, plain: Any) -> Any:
        """Return the container."""
        if not isinstance(plain, list | tuple):
            raise expected("a list", plain)
        items = plain if self._item.free else _each(self._item.load, plain)
        try:
            return items if self._is_list and items is not plain else self._make(list(items))
        except TypeError as error:  # what a set cannot hold
            raise Invalid(f"no {self._what} can be made of it: {error}") from None


class FixedTuple(Converter):
    """A tuple with one annotation for each place; ``make`` makes it of the items, for named ones."""

    def __init__(self, kind: Any, items: Sequence[Converter], make: Callable[[list[Any]], Any]) -> None:
        """Take instances of ``kind``."""
        self._kind = kind
        self._items = items
        self._make = make

    def dump(self, value: Any) -> list[Any]:
        """Return a list of plain items."""
        if not isinstance(value, self._kind):
            raise expected(self._kind.__qualname__, value)
        return self._places(value, "dump")

    def load(self, plain: Any) -> Any:
        """Return the tuple."""
        if not isinstance(plain, list | tuple):
            raise expected("a list", plain)
        return self._make(self._places(plain, "load"))

    def _places(self, values: Sequence[Any], way: str) -> list[Any]:
        if len(values) != len(self._items):
            raise Invalid(f"expected {len(self._items)} items, not {len(values)}")
        done = []
        for place, (item, value) in enumerate(zip(self._items, values, strict=True)):
            try:
                done.append(getattr(item, way)(value))
            except Invalid as error:
                raise error.at(f"[{place}]") from None
        return done


class Table(Converter):
    """A dict. Keys are text on the way: those of other types are written as text, and read again as theirs."""

    def __init__(self, takes: Any, key: Converter, item: Converter) -> None:
        """Take instances of ``takes``; a dict comes back."""
        self._takes = takes
        self._key = key
        self._item = item

    def dump(self, value: Any) -> dict[Any, Any]:
        """Return a dict of plain values by text."""
        if not isinstance(value, self._takes):
            raise expected("dict", value)
        done: dict[Any, Any] = {}
        for key, item in value.items():
            try:
                text = key if self._key.free else self._dump_key(key)
                done[text] = self._item.dump(item)
            except Invalid as error:
                raise error.at(f"[{key!r:.60}]") from None
        if len(done) != len(value):
            raise Invalid("two of its keys are the same text")
        return done

    def load(self, plain: Any) -> dict[Any, Any]:
        """Return the dict."""
        if not isinstance(plain, dict):
            raise expected("an object", plain)
        done = {}
        for key, item in plain.items():
            try:
                done[key if self._key.free else self._load_key(key)] = self._item.load(item)
            except Invalid as error:
                raise error.at(f"[{key!r:.60}]") from None
        return done

    def _dump_key(self, key: Any) -> str:
        text = _key_text(self._key.dump(key))
        if type(key) is not str:
            again = self._load_key(text)
            if again != key or not isinstance(key, type(again)):
                raise Invalid(f"this key would come back as {again!r:.60}")
        return text

    def _load_key(self, text: Any) -> Any:
        try:
            return self._key.load(text)
        except Invalid:
            if not isinstance(text, str):
                raise
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError):
            plain = text
        return self._key.load(plain)


class Either(Converter):
    """A union: what is dumped is read again at once, so that nothing comes back as another member."""

    def __init__(self, members: Sequence[Converter], names: str) -> None:
        """Try ``members`` in order, but first those whose type it is exactly."""
        self._members = members
        self._names = names
        self.exact = frozenset().union(*(member.exact for member in members))

    def dump(self, value: Any) -> Any:
        """Return the plain form by the first member that takes it."""
        if type(value) in self.exact:
            return value
        plain = self._first("dump", value)
        again = self.load(plain)
        if type(again) is not type(value) and not _equal(again, value):
            raise Invalid(
                f"in {self._names} a {type(value).__qualname__} would come back as a {type(again).__qualname__}; "
                "give it a class that can be told apart"
            )
        return plain

    def load(self, plain: Any) -> Any:
        """Return the value by the first member that takes it."""
        return plain if type(plain) in self.exact else self._first("load", plain)

    def _first(self, way: str, value: Any) -> Any:
        problems = []
        for member in self._members:
            try:
                return getattr(member, way)(value)
            except Invalid as error:
                problems.append(error)
        deepest = max(problems, key=lambda each: len(each.steps))
        raise deepest if deepest.steps else expected(self._names, value)


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  ``__eq__`` is user code
        return False


def _each(convert: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    done: list[Any] = []
    try:
        for value in values:
            done.append(convert(value))  # noqa: PERF401  its length is the place of the culprit
    except Invalid as error:
        raise error.at(f"[{len(done)}]") from None
    return done


def _key_text(plain: Any) -> str:
    if isinstance(plain, str):
        return plain
    if plain is None or isinstance(plain, bool | int | float):
        return json.dumps(plain)
    if isinstance(plain, datetime | date | time):
        return plain.isoformat()
    if isinstance(plain, Decimal | UUID):
        return str(plain)
    raise expected("a key that is one value", plain)
