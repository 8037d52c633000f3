"""Where an App's settings come from, and which place goes before which.

    argument of App  >  CELERIAC_* in the environment  >  the object of App.config_from_object
                     >  [tool.celeriac] in pyproject.toml  >  the default

Nothing is read before the settings are used for the first time: constructing an App opens no file.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from celeriac.errors import ConfigurationError, did_you_mean
from celeriac.settings import Layer, Settings, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT_FILE = "pyproject.toml"
DEFAULT = "default"
PROGRAM = "the program or the command line"
_OF_THE_PROGRAM = ("main", "queues", "exchanges", "bindings", "routes", "clock", "middleware")
_OUR_OWN = "celeriac."  # an App of these modules is part of nobody's project
_NO_SETTINGS = ("TYPE_CHECKING", "annotations")  # what a config module imports for its own types


class Configuration:
    """The places that one App's settings come from.

    Attributes:
        folder: above it the project's file is looked for; ``None`` looks for none.
    """

    def __init__(self, arguments: Mapping[str, Any], defined: Mapping[str, Any]) -> None:
        """Take the App's arguments, which are checked at once; read nothing else.

        Args:
            arguments: as given to `App`.
            defined: the names of the module that constructs the App.

        Raises:
            UnknownOption: an argument of an unknown name, with a did-you-mean.
            ConfigurationError: a value that does not fit.
        """
        self._arguments = Layer("argument of App", arguments)
        self._arguments.read()
        self._object: tuple[Any, str | None] | None = None
        file = defined.get("__file__")
        self.folder: Path | None = Path() if file is None else Path(file).parent
        if str(defined.get("__name__")).startswith(_OUR_OWN):
            self.folder = None

    def use(self, source: Any, namespace: str | None) -> None:
        """Take ``source`` as the config object, instead of an earlier one; it is looked at when settings are."""
        self._object = (source, namespace)

    def settings(self) -> Settings:
        """Return the settings; raises as `Settings.of`, and where a file or a module cannot be read."""
        return Settings.of(self.layers())

    def layers(self) -> Sequence[Layer]:
        """Return every place, the strongest first.

        Raises:
            ConfigurationError: the config object cannot be imported, or the project's file cannot be read.
        """
        layers = [self._arguments, environment()]
        if self._object is not None:
            layers.append(object_layer(*self._object))
        project = None if self.folder is None else project_layer(self.folder.resolve())
        return layers if project is None else [*layers, project]

    def origins(self, settings: Settings) -> dict[str, str]:
        """Return where the value of each setting in ``settings`` came from, for people to read."""
        layers = self.layers()
        resolved = Settings.of(layers)
        origins = {}
        for name in (each.name for each in fields(Settings)):
            if getattr(settings, name) != getattr(resolved, name):
                origins[name] = PROGRAM
                continue
            origins[name] = next(
                (each.origin_of(name) for each in layers if each.values.get(name) is not None), DEFAULT
            )
        return origins


def object_layer(source: Any, namespace: str | None = None) -> Layer:
    """Return what a config object gives.

    Args:
        source: the name of a module, ``module:attribute``, a mapping, or any object with attributes. What is private,
            a module or callable is no setting.
        namespace: only names that begin so, in capitals and with ``_`` after it, are settings: ``CELERIAC_GRACE`` of
            ``namespace="CELERIAC"``. Without it every name must be one.

    Raises:
        ConfigurationError: it cannot be imported, reading it raises, or a name is an argument of `App` and no setting.
    """
    named = source if isinstance(source, str) else _name_of(source)
    origin = f"config object {named}"
    if isinstance(source, str):
        source = _imported(source)
    try:
        given = dict(source) if isinstance(source, Mapping) else _attributes(source)
    except Exception as error:  # a property is user code
        from celeriac.transport_helpers import masked  # noqa: PLC0415 - for what is wrong only

        raise ConfigurationError(f"{origin} cannot be read: {type(error).__name__}: {masked(str(error))}") from error
    if namespace is not None:
        prefix = f"{namespace.upper()}_"
        given = {name.removeprefix(prefix).lower(): value for name, value in given.items() if name.startswith(prefix)}
    for name in _OF_THE_PROGRAM:
        if name in given:
            raise ConfigurationError(
                f"{origin}: {name!r} describes the program and is no setting; write App({name}=...)"
            )
    return Layer(origin, given, where=f"{origin}: ")


def project_layer(folder: Path) -> Layer | None:
    """Return what ``[tool.celeriac]`` of the nearest pyproject.toml above ``folder`` gives; ``None`` without any.

    Raises:
        ConfigurationError: the file cannot be read, or is no TOML.
    """
    for each in (folder, *folder.parents):
        file = each / PROJECT_FILE
        try:
            stat = file.stat()
            table = _table(file, stat.st_mtime_ns, stat.st_size)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
        return None if table is None else Layer(f"[tool.celeriac] in {file}", table, where=f"{file}: ")
    return None


@lru_cache(maxsize=8)
def _table(file: Path, _changed: int, _size: int) -> Mapping[str, Any] | None:
    """Return the table ``[tool.celeriac]``; one file is parsed once, until it changes."""
    data = file.read_bytes()
    if b"celeriac" not in data or b"tool" not in data:
        return None  # nothing here is ours, and how well it is written is not our business
    import tomllib  # noqa: PLC0415 - most processes never need it

    try:
        table = tomllib.loads(data.decode())
    except ValueError as error:  # of TOML, and of UTF-8
        from celeriac.transport_helpers import masked  # noqa: PLC0415 - for what is wrong only

        raise ConfigurationError(f"{file} is no TOML: {masked(str(error))}; mend it") from None
    tool = table.get("tool", {})
    found = tool.get("celeriac") if isinstance(tool, dict) else None
    if found is not None and not isinstance(found, dict):
        raise ConfigurationError(f"{file}: tool.celeriac is no table; write [tool.celeriac] and settings below it")
    return found


def _imported(text: str) -> Any:
    name, _, attribute = text.partition(":")
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ConfigurationError(f"config_from_object({text!r}): there is no module {error.name!r}") from None
        from celeriac.transport_helpers import masked  # noqa: PLC0415 - for what is wrong only

        why = f"{type(error).__name__}: {masked(str(error))}"
        raise ConfigurationError(f"config_from_object({text!r}): its module cannot be imported: {why}") from error
    if not attribute:
        return module
    if not hasattr(module, attribute):
        hint = did_you_mean(attribute, vars(module))
        raise ConfigurationError(f"config_from_object({text!r}): {name} has no {attribute!r}{hint}")
    return getattr(module, attribute)


def _attributes(source: object) -> dict[str, Any]:
    names = [name for name in dir(source) if not name.startswith("_") and name not in _NO_SETTINGS]
    found = {name: getattr(source, name) for name in names}
    return {name: value for name, value in found.items() if not (callable(value) or isinstance(value, ModuleType))}


def _name_of(source: object) -> str:
    if isinstance(source, Mapping):
        return "(a mapping)"
    return getattr(source, "__qualname__", None) or getattr(source, "__name__", None) or type(source).__qualname__
