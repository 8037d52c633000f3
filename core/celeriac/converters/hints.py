"""Annotations as objects, where some may name what is not there at run time, as under ``TYPE_CHECKING``."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from types import SimpleNamespace
from typing import Any, get_type_hints


def hints_of(owner: Any) -> dict[str, Any]:
    """Return the annotations of a function or class by name, evaluated; one that cannot be found is ``Any``."""
    with suppress(Exception):  # an annotation is any expression, and may raise anything
        return get_type_hints(owner, include_extras=True)
    found: dict[str, Any] = {}
    for scope in reversed(owner.__mro__) if isinstance(owner, type) else (owner,):
        for name, annotation in _written(scope).items():
            found[name] = _evaluated(name, annotation, scope)
    return found


def _written(scope: Any) -> dict[str, Any]:
    if sys.version_info >= (3, 14):
        annotationlib = import_module("annotationlib")
        return dict(annotationlib.get_annotations(scope, format=annotationlib.Format.FORWARDREF))
    return dict(vars(scope).get("__annotations__", {}) if isinstance(scope, type) else _own(scope))


def _own(scope: Any) -> dict[str, Any]:
    """Return what a function is annotated with; built-in ones have nothing."""
    return getattr(scope, "__annotations__", None) or {}


def _evaluated(name: str, annotation: Any, scope: Any) -> Any:
    module = sys.modules.get(scope.__module__)
    names = getattr(scope, "__globals__", None) or vars(module or object)
    local = dict(vars(scope)) if isinstance(scope, type) else {}
    alone = SimpleNamespace(__annotations__={name: annotation})
    with suppress(Exception):
        return get_type_hints(alone, dict(names), local, include_extras=True)[name]
    return Any
