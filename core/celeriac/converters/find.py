"""From an annotation to its converter."""

from __future__ import annotations

import collections
import types
import typing
from collections import abc
from dataclasses import is_dataclass
from enum import Enum
from functools import lru_cache, partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Required, TypeVar, Union, get_args, get_origin

from celeriac.converters.base import Later
from celeriac.converters.classes import (
    DataclassOf,
    MsgspecStruct,
    PydanticModel,
    TypedDictOf,
    is_msgspec_struct,
    is_pydantic_model,
)
from celeriac.converters.containers import Either, FixedTuple, Items, Table
from celeriac.converters.hints import hints_of
from celeriac.converters.scalars import SCALARS, Anything, EnumOf, OneOf, PathOf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celeriac.converters.base import Converter

ANYTHING = Anything()
_MANY: dict[Any, tuple[str, Any, Any]] = {
    list: ("list", list, list),
    set: ("set", (set, frozenset), set),
    frozenset: ("frozenset", (set, frozenset), frozenset),
    collections.deque: ("deque", collections.deque, collections.deque),
    abc.Sequence: ("list or tuple", (list, tuple), list),
    abc.MutableSequence: ("list", list, list),
    abc.Set: ("set", (set, frozenset), set),
    abc.MutableSet: ("set", set, set),
}
_TABLES = {dict: dict, abc.Mapping: abc.Mapping, abc.MutableMapping: abc.MutableMapping}
_INSIDE = (Annotated, Required, NotRequired, typing.Final, getattr(typing, "ReadOnly", Annotated))


def converter_for(annotation: Any, bound: Mapping[Any, Any] | None = None) -> Converter:
    """Return the converter of an annotation; one that says nothing about data gives one that takes anything.

    Args:
        annotation: any.
        bound: what the type variables stand for, inside a generic class.
    """
    if bound:
        annotation = _substituted(annotation, bound)
    known = SCALARS.get(annotation) if isinstance(annotation, type) or annotation is None else None
    if known is not None:
        return known
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in _INSIDE:
        return converter_for(args[0])
    if origin is Union or origin is types.UnionType:
        return _union(args)
    if origin is Literal:
        return OneOf(args, lambda choice: converter_for(type(choice)).dump(choice))
    if isinstance(annotation, typing.NewType):
        return converter_for(annotation.__supertype__)
    aliased = None if isinstance(annotation, type) else getattr(annotation, "__value__", None)
    if aliased is not None:  # `type X = ...`, from 3.12
        return _recursive(annotation) if _leads_to(annotation, annotation) else converter_for(aliased)
    return _container(origin or annotation, args) or _class_of(annotation, origin, args)


def _leads_to(annotation: Any, alias: Any, seen: tuple[Any, ...] = ()) -> bool:
    """Return whether ``alias`` stands somewhere in what ``annotation`` is made of: it stands for itself then."""
    value = None if isinstance(annotation, type) else getattr(annotation, "__value__", None)
    if value is None or annotation in seen:
        parts = get_args(annotation)
    else:
        parts, seen = (value,), (*seen, annotation)
    return any(part is alias or _leads_to(part, alias, seen) for part in parts)


@lru_cache
def _recursive(alias: Any) -> Converter:
    return Later(lambda: converter_for(alias.__value__))


def _class_of(annotation: Any, origin: Any, args: tuple[Any, ...]) -> Converter:
    """Return the converter of a class, or of what of a generic one is meant."""
    if isinstance(origin, type) and is_dataclass(origin):
        return DataclassOf(origin, partial(hints_of, origin), partial(converter_for, bound=_bound(origin, args)))
    if isinstance(origin, type) and is_msgspec_struct(origin):
        return MsgspecStruct(origin, annotation)
    kind = annotation if origin is None else origin
    return _class(kind) if isinstance(kind, type) else ANYTHING


def _union(args: tuple[Any, ...]) -> Converter:
    members = [converter_for(each) for each in args]
    if any(member.free for member in members):
        return ANYTHING
    name = " | ".join("None" if each is type(None) else getattr(each, "__qualname__", str(each)) for each in args)
    return Either(members, name)


def _container(kind: Any, args: tuple[Any, ...]) -> Converter | None:
    if kind is tuple:
        if not args or args[-1] is Ellipsis:
            return Items("tuple", tuple, tuple, converter_for(args[0]) if args else ANYTHING)
        items = [] if args == ((),) else [converter_for(each) for each in args]
        return FixedTuple(tuple, items, tuple)
    if not isinstance(kind, abc.Hashable):
        return None
    if kind in _MANY:
        return Items(*_MANY[kind], converter_for(args[0]) if args else ANYTHING)
    if kind in _TABLES:
        key, item = map(converter_for, args) if args else (ANYTHING, ANYTHING)
        return Table(_TABLES[kind], key, item)
    return None


@lru_cache(maxsize=1024)  # a class that refers to itself finds itself here
def _class(cls: type) -> Converter:
    if is_pydantic_model(cls):
        return PydanticModel(cls)
    if is_msgspec_struct(cls):
        return MsgspecStruct(cls, cls)
    if is_dataclass(cls):
        return DataclassOf(cls, partial(hints_of, cls), converter_for)
    if typing.is_typeddict(cls):
        return TypedDictOf(cls, partial(hints_of, cls), converter_for)
    if issubclass(cls, Enum):
        return EnumOf(cls)
    if issubclass(cls, PurePath):
        return PathOf(Path if cls is Path else cls)
    names = getattr(cls, "_fields", None) if issubclass(cls, tuple) else None
    if names is not None:
        hints = hints_of(cls)
        return FixedTuple(cls, [converter_for(hints.get(name, Any)) for name in names], lambda items: cls(*items))
    return ANYTHING


def _bound(origin: Any, args: tuple[Any, ...]) -> dict[Any, Any]:
    return dict(zip(getattr(origin, "__parameters__", ()), args, strict=False))


def _substituted(annotation: Any, bound: Mapping[Any, Any]) -> Any:
    if isinstance(annotation, TypeVar):
        return bound.get(annotation, Any)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or isinstance(annotation, type):
        return annotation
    return annotation[tuple(bound.get(each, Any) for each in parameters)]
