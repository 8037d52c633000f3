"""From a `Locator` to the App: the import, and the look around in the module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from celeriac.app import App
from celeriac.errors import ConfigurationError, did_you_mean
from celeriac.locator import importing_for_its_app

if TYPE_CHECKING:
    from types import ModuleType

    from celeriac.locator import Locator

USUAL_NAMES = ("app", "celery", "application")
USUAL_MODULES = ("celery", "app", "celeriac_app")


def load_app(locator: Locator) -> App:
    """Import the module that ``locator`` names and return its App.

    Raises:
        ConfigurationError: no such module, or no App in it. What the module itself raises goes through.
    """
    extend_path(locator)
    with importing_for_its_app():
        module = _program(locator.module, locator.file) if locator.file else _module(locator.module)
        app = _find(module, locator.attribute)
        if app is None and locator.attribute is None:
            app = _find_in_package(module)
    if app is None:
        raise ConfigurationError(
            f"module {locator.module!r} has no celeriac App; name it: -A {locator.module}:name_of_the_app"
        )
    if app.found_by is None:
        if app.locator is not None:  # its tasks have the program's name where the module is run as one, say by a client
            app.tasks.alias(app.main or "__main__", app.locator.module)
        app.found_by = locator
    return app


def extend_path(locator: Locator) -> None:
    """Put before ``sys.path`` what the process that knew the App had on its own."""
    for entry in reversed(locator.path):
        if entry not in sys.path:
            sys.path.insert(0, entry)


def _program(name: str, file: str) -> ModuleType:
    """Import a program's file under its stem, once."""
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise  # the module is there; something that it imports is not
        raise ConfigurationError(
            f"no module {name!r} in {Path.cwd()} or on sys.path; run from the folder that holds it, or pip install it"
        ) from None


def _find(module: ModuleType, attribute: str | None) -> App | None:
    apps = {name: value for name, value in vars(module).items() if isinstance(value, App)}
    if attribute is not None:
        if attribute not in apps:
            raise ConfigurationError(f"{module.__name__}:{attribute} is no celeriac App{did_you_mean(attribute, apps)}")
        return apps[attribute]
    for name in USUAL_NAMES:
        if name in apps:
            return apps[name]
    if len({id(app) for app in apps.values()}) > 1:
        raise ConfigurationError(
            f"module {module.__name__!r} has several Apps; name one: -A {module.__name__}:{next(iter(apps))}"
        )
    return next(iter(apps.values()), None)


def _find_in_package(package: ModuleType) -> App | None:
    if not hasattr(package, "__path__"):
        return None
    for name in USUAL_MODULES:
        full = f"{package.__name__}.{name}"
        if importlib.util.find_spec(full) is not None:
            app = _find(importlib.import_module(full), None)
            if app is not None:
                return app
    return None
