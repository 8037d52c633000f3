"""Annotations that are classes with fields: dataclasses, typed dicts, pydantic models and msgspec structs.

The last two are asked by their own means. Whoever has such a class has imported its library, so that nothing is
imported for it here.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

from celeriac.converters.base import Converter, Invalid, expected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Find = Callable[[Any], Converter]


class _Fields(Converter):
    """Something with named fields, as a dict of their plain values; its annotations are read at the first use."""

    def __init__(self, cls: type, hints: Callable[[], Mapping[str, Any]], find: Find) -> None:
        """Describe ``cls``.

        Args:
            cls: the class.
            hints: gives its annotations; called once.
            find: gives the converter of an annotation.
        """
        self._cls = cls
        self._hints = hints
        self._find = find

    @cached_property
    def _converters(self) -> dict[str, Converter]:
        hints = self._hints()
        return {name: self._find(hints.get(name, Any)) for name in self._names()}

    def _names(self) -> list[str]:
        """Return the names of the fields that travel."""
        raise NotImplementedError

    @cached_property
    def _required(self) -> frozenset[str]:
        return frozenset(self._needed())

    def _needed(self) -> Iterable[str]:
        """Return the names of the fields that must be there."""
        raise NotImplementedError

    def _loaded(self, plain: Any) -> dict[str, Any]:
        if not isinstance(plain, dict):
            raise expected(f"an object for {self._cls.__qualname__}", plain)
        self._refuse_missing(plain)
        return {name: _step(self._known(name).load, value, name) for name, value in plain.items()}

    def _refuse_missing(self, given: Mapping[str, Any]) -> None:
        if missing := [name for name in self._names() if name in self._required and name not in given]:
            raise Invalid(f"{self._cls.__qualname__} wants {', '.join(missing)}")

    def _known(self, name: Any) -> Converter:
        converter = self._converters.get(name)
        if converter is None:
            raise Invalid(f"{self._cls.__qualname__} has no {name!r:.60}")
        return converter


class DataclassOf(_Fields):
    """A dataclass: exactly this class, as a subclass would come back without what it adds."""

    @cached_property
    def _wanted(self) -> list[str]:
        """What ``__init__`` wants and no field keeps: an ``InitVar``."""
        names = self._names()
        parameters = signature(self._cls).parameters.values()
        return [each.name for each in parameters if each.default is each.empty and each.name not in names]

    def _needed(self) -> Iterable[str]:
        nothing = dataclasses.MISSING
        return [
            field.name
            for field in dataclasses.fields(self._cls)
            if field.init and field.default is nothing and field.default_factory is nothing
        ]

    def _names(self) -> list[str]:
        return [field.name for field in dataclasses.fields(self._cls) if field.init]

    def dump(self, value: Any) -> dict[str, Any]:
        """Return its fields."""
        if type(value) is not self._cls:
            raise expected(self._cls.__qualname__, value)
        if self._wanted:
            raise Invalid(f"{self._cls.__qualname__} keeps no {', '.join(self._wanted)}, which __init__ wants")
        return {name: _step(converter.dump, getattr(value, name), name) for name, converter in self._converters.items()}

    def load(self, plain: Any) -> Any:
        """Return an instance; its ``__post_init__`` runs."""
        return _made(self._cls, lambda: self._cls(**self._loaded(plain)))


class TypedDictOf(_Fields):
    """A typed dict."""

    def _names(self) -> list[str]:
        return list(self._hints())

    def dump(self, value: Any) -> dict[str, Any]:
        """Return a dict of plain values."""
        if not isinstance(value, dict):
            raise expected(self._cls.__qualname__, value)
        self._refuse_missing(value)
        return {name: self._item(name, item) for name, item in value.items()}

    def load(self, plain: Any) -> dict[str, Any]:
        """Return a dict of values."""
        return self._loaded(plain)

    def _needed(self) -> Iterable[str]:
        return self._cls.__required_keys__  # type: ignore[attr-defined,no-any-return] # of every typed dict

    def _item(self, name: str, item: Any) -> Any:
        return _step(self._known(name).dump, item, name)


class PydanticModel(Converter):
    """A pydantic model, by pydantic's own JSON, aliases included; what was assigned to it is validated again."""

    def __init__(self, cls: Any) -> None:
        """Take instances of ``cls``."""
        self._cls = cls

    def dump(self, value: Any) -> Any:
        """Return its JSON as plain data."""
        if type(value) is not self._cls:
            raise expected(self._cls.__qualname__, value)
        text = _made(self._cls, lambda: value.model_dump_json(by_alias=True, warnings="none"))
        self._validated(text)
        return json.loads(text)

    def load(self, plain: Any) -> Any:
        """Return a validated instance."""
        try:
            text = json.dumps(plain)
        except (TypeError, ValueError):
            raise expected(f"JSON for {self._cls.__qualname__}", plain) from None
        return self._validated(text)

    def _validated(self, text: str) -> Any:
        pydantic = sys.modules["pydantic"]
        try:
            return self._cls.model_validate_json(text)
        except pydantic.ValidationError as error:
            first, *others = error.errors(include_url=False, include_input=False, include_context=False)
            more = f" (and {len(others)} more)" if others else ""
            invalid = Invalid(f"{first['msg']}{more}")
            invalid.steps = [f".{step}" if isinstance(step, str) else f"[{step}]" for step in reversed(first["loc"])]
            raise invalid from None
        except Exception as error:
            raise Invalid(f"{self._cls.__qualname__} refuses it: {type(error).__name__}: {error}") from error


class MsgspecStruct(Converter):
    """A msgspec struct, by msgspec's own conversion."""

    def __init__(self, cls: Any, annotation: Any) -> None:
        """Take instances of ``cls``; ``annotation`` is it, or what of a generic one is meant."""
        self._cls = cls
        self._annotation = annotation

    def dump(self, value: Any) -> Any:
        """Return it as plain data; msgspec validates nothing that Python code makes, so it is read again."""
        if type(value) is not self._cls:
            raise expected(self._cls.__qualname__, value)
        plain = _made(self._cls, lambda: sys.modules["msgspec"].to_builtins(value, str_keys=True))
        self.load(plain)
        return plain

    def load(self, plain: Any) -> Any:
        """Return a validated instance."""
        msgspec = sys.modules["msgspec"]
        try:
            return msgspec.convert(plain, self._annotation, str_keys=True)
        except msgspec.ValidationError as error:
            problem, _, where = str(error).partition(" - at `$")
            invalid = Invalid(problem)
            raise (invalid.at(where.removesuffix("`")) if where.removesuffix("`") else invalid) from None
        except Exception as error:
            raise Invalid(f"{self._cls.__qualname__} refuses it: {type(error).__name__}: {error}") from error


def is_pydantic_model(cls: type) -> bool:
    """Return whether it is one; pydantic is not imported to find out."""
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return isinstance(base, type) and issubclass(cls, base)


def is_msgspec_struct(cls: type) -> bool:
    """Return whether it is one; msgspec is not imported to find out."""
    base = getattr(sys.modules.get("msgspec"), "Struct", None)
    return isinstance(base, type) and issubclass(cls, base)


def _step(convert: Callable[[Any], Any], value: Any, name: str) -> Any:
    try:
        return convert(value)
    except Invalid as error:
        raise error.at(f".{name}") from None


def _made(cls: type, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Invalid:
        raise
    except Exception as error:
        # __init__, __post_init__ and serializers are user code
        raise Invalid(f"{cls.__qualname__} refuses it: {type(error).__name__}: {error}") from error
