"""How a process finds the App: by a module's name, or by a program's file, and what it is called there."""

from __future__ import annotations

import contextlib
import sys
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_FILE = "celeriac.db"
_importing: ContextVar[bool] = ContextVar("celeriac_importing", default=False)


def is_importing() -> bool:
    """Return whether a module is being imported for its App, so that a program's ``worker_main()`` must do nothing."""
    return _importing.get()


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """Where an App is defined.

    Attributes:
        module: the module to import.
        file: the program's file, for an App that was defined in ``__main__``; it is imported under ``module``, once.
        attribute: what the App is called there; ``None`` is a usual name, or the only App there is.
        path: ``sys.path`` of the process that knew.
    """

    module: str
    file: str | None = None
    attribute: str | None = None
    path: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Locator:
        """Return the locator for a command's ``-A``: ``module``, ``module:app``, or a package with an app module."""
        module, _, attribute = text.partition(":")
        if not module:
            raise ConfigurationError(f"-A {text!r} names no module; write -A module or -A module:app")
        path = tuple(sys.path)
        if module.startswith("/"):
            file = Path(module)
            module, path = file.stem, (str(file.parent), *path)
        elif module.endswith(".py"):
            module = module.removesuffix(".py").replace("/", ".").lstrip(".")
        return cls(module=module, attribute=attribute or None, path=path)

    @classmethod
    def of(cls, app: object, defined: Mapping[str, Any]) -> Locator | None:
        """Return the locator of ``app`` in the module whose names are ``defined``; ``None`` if that has no file."""
        module = defined.get("__name__", "__main__")
        attribute = next((name for name, value in defined.items() if value is app), None)
        if module != "__main__":
            return cls(module=module, attribute=attribute, path=tuple(sys.path))
        file = defined.get("__file__")
        if file is None or not Path(file).is_file():
            return None
        path = Path(file).resolve()
        return cls(module=path.stem, file=str(path), attribute=attribute, path=tuple(sys.path))

    def to_wire(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Locator:
        """Return the locator that `to_wire` described."""
        return cls(**{**data, "path": tuple(data["path"])})


def default_file(defined: Mapping[str, Any]) -> Path:
    """Return ``celeriac.db`` in the nearest parent of the module that has one, else beside its top package.

    Args:
        defined: the names of the module.
    """
    file = defined.get("__file__")
    if file is None:
        return Path.cwd() / DEFAULT_FILE
    module = Path(file).resolve()
    for folder in module.parents:
        if (folder / DEFAULT_FILE).exists():
            return folder / DEFAULT_FILE
    depth = defined.get("__package__") or ""
    levels = depth.count(".") + 1 if depth else 0
    return module.parents[levels] / DEFAULT_FILE


@contextlib.contextmanager
def importing_for_its_app() -> Iterator[None]:
    """Mark an import that only looks for the App."""
    token = _importing.set(True)
    try:
        yield
    finally:
        _importing.reset(token)
