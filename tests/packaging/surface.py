"""The public API as text, a name a line: what the two pages that call names public name, with the signatures."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).with_name("api.txt")
API = ROOT / "docs" / "reference" / "api.md"
FOR_PLUGINS = ROOT / "docs" / "how-to" / "writing-a-transport.md"
MARKS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def surface() -> str:
    """Return the whole, sorted."""
    lines = set(_of_module(importlib.import_module("celeriac"), importlib.import_module("celeriac").__all__))
    named = re.findall(r"^\.\. auto(?:class|function):: ([\w.]+)", API.read_text(encoding="utf-8"), re.MULTILINE)
    for path in [*named, "celeriac.settings.Settings"]:  # whose fields are also arguments of an App
        home, _, name = path.rpartition(".")
        lines |= set(_of_module(importlib.import_module(home), [name]))
    for path in modules():
        module = importlib.import_module(path)
        names = getattr(module, "__all__", None) or [name for name in vars(module) if _is_own(module, name)]
        lines |= set(_of_module(module, names))
    return "\n".join(sorted(lines, key=_by_name)) + "\n"


def modules() -> set[str]:
    """Return the modules of which every name is public."""
    table = FOR_PLUGINS.read_text(encoding="utf-8").partition("| module |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    documented = re.findall(r"^\.\. automodule:: ([\w.]+)", API.read_text(encoding="utf-8"), re.MULTILINE)
    return {*documented, *(name for row in rows for name in re.findall(r"`(celeriac\.\w+)`", row))}


def _by_name(line: str) -> tuple[str, str]:
    """Sort what is in a class below it, whatever its kind."""
    found = re.search(r"celeriac[\w.]*", line)
    assert found is not None
    return found[0], line


def _is_own(module: ModuleType, name: str) -> bool:
    value = vars(module)[name]
    if (
        name.startswith("_")
        or name in ("annotations", "TYPE_CHECKING")
        or inspect.ismodule(value)
        or isinstance(value, TypeVar)
    ):
        return False
    return getattr(value, "__module__", module.__name__) == module.__name__


def _of_module(module: ModuleType, names: list[str]) -> Iterator[str]:
    for name in names:
        yield from _of(f"{module.__name__}.{name}", getattr(module, name))


def _of(path: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        yield f"class {path}{_bases(value)}{_construction(value)}"
        yield from _members(path, value)
    elif callable(value):
        yield f"{'async ' * inspect.iscoroutinefunction(value)}def {path}{_signature(value)}"
    else:
        yield f"{path} = {_value(value)}"


def _members(path: str, cls: type) -> Iterator[str]:
    """Yield what a class of ours offers, its own and what it has from others of ours, but no tests of a kit."""
    seen = set()
    for home in (each for each in cls.__mro__ if each.__module__.partition(".")[0] == "celeriac"):
        for name in {**inspect.get_annotations(home), **vars(home)}:
            if name.startswith(("_", "test_")) or name in seen:
                continue
            seen.add(name)
            yield _member(f"{path}.{name}", inspect.getattr_static(home, name, None), home, name)
    listed = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")[2].partition("\n\n")[0]
    yield from (f"{path}.{name}" for name in re.findall(r"^ {4}(\w+):", listed, re.MULTILINE) if name not in seen)


def _member(path: str, value: Any, home: type, name: str) -> str:
    if isinstance(value, enum.Enum) and type(value) is home:
        return f"{path} = {value.value!r}"
    if isinstance(value, classmethod | staticmethod):
        return f"{type(value).__name__} {path}{_signature(value.__func__)}"
    if inspect.isfunction(value):
        return f"{'async ' * inspect.iscoroutinefunction(value)}def {path}{_signature(value)}"
    getter = getattr(value, "fget", None) or getattr(value, "func", None)
    kind = getter.__annotations__.get("return") if getter else inspect.get_annotations(home).get(name)
    return f"{path}: {_annotation(kind)}" if kind is not None else f"{path} = {_value(value)}"


def _bases(cls: type) -> str:
    bases = [base.__name__ for base in cls.__bases__ if base is not object]
    return f"[{', '.join(bases)}]" if bases else ""


def _construction(cls: type) -> str:
    """Return what is given to make one; nothing where that is the business of a built-in base, or nobody's."""
    own = any("__init__" in vars(each) for each in cls.__mro__ if each.__module__.partition(".")[0] == "celeriac")
    return _signature(cls) if own and not issubclass(cls, enum.Enum) else ""


def _signature(value: Any) -> str:
    """Return a signature, written alike by every Python: `str` quotes annotations in one and not in another."""
    signature, words, keyword_only, positional = inspect.signature(value), [], False, False
    for each in signature.parameters.values():
        if positional and each.kind is not each.POSITIONAL_ONLY:
            words.append("/")
        positional = each.kind is each.POSITIONAL_ONLY
        if each.kind is each.KEYWORD_ONLY and not keyword_only:
            words.append("*")
        keyword_only = keyword_only or each.kind in (each.KEYWORD_ONLY, each.VAR_POSITIONAL)
        hint = "" if each.annotation is each.empty else f": {_annotation(each.annotation)}"
        default = "" if each.default is each.empty else f" = {_value(each.default)}"
        words.append(f"{MARKS.get(each.kind, '')}{each.name}{hint}{default}")
    words += ["/"] * positional
    back = "" if signature.return_annotation in (signature.empty, None) else signature.return_annotation
    return f"({', '.join(words)})" + (f" -> {_annotation(back)}" if back else "")


def _annotation(hint: Any) -> str:
    return hint if isinstance(hint, str) else inspect.formatannotation(hint)


def _value(value: Any) -> str:
    """Return a value; of one that is no plain data, its type: where it lies in memory is nobody's API."""
    if isinstance(value, frozenset):
        return f"frozenset({sorted(value)})"
    text = str(value) if isinstance(value, enum.Enum) else repr(value)
    return f"<{type(value).__name__}>" if " at 0x" in text else text
