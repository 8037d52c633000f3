"""From the command line to an App, and to its open connection."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import celeriac
from celeriac.app import App
from celeriac.errors import CeleriacError, ConfigurationError
from celeriac.loading import load_app
from celeriac.locator import Locator
from celeriac.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from celeriac.client import Client

_NOT_THEIRS = (str(Path(celeriac.__file__).parent), str(Path(importlib.__file__).parent), "<frozen importlib")


class AppImportError(CeleriacError):
    """The App's module could not be imported; its traceback was printed."""


def find_app(arguments: argparse.Namespace, app: App | None = None) -> App:
    """Return the App that is given or that ``-A`` names, with the addresses of the command line.

    Raises:
        ConfigurationError: there is none, or a setting cannot work.
        AppImportError: its module raised.
    """
    if app is None:
        if arguments.app is None:
            raise ConfigurationError("no App was named; write -A module, or -A module:name")
        app = _load(arguments.app)
    return with_addresses(app, arguments.broker, arguments.result_backend)


def find_app_or_broker(arguments: argparse.Namespace, app: App | None = None) -> App:
    """Return the App as `find_app`; for a broker alone, one without tasks.

    Such a broker is given by ``-b``, by the environment, or by the pyproject.toml above the working directory.

    Raises:
        ConfigurationError: neither is given.
    """
    if app is not None or arguments.app is not None:
        return find_app(arguments, app)
    app = app_of_nobody(arguments)
    if not app.conf.broker:
        raise ConfigurationError("neither an App nor a broker was named; write -A module or -b URL")
    return app


def app_of_nobody(arguments: argparse.Namespace) -> App:
    """Return an App without tasks, whose settings are those that a program in the working directory would have."""
    app = App("cli", broker=arguments.broker, backend=arguments.result_backend)
    app.configuration.folder = Path()
    return app


def with_addresses(app: App, broker: str | None, backend: str | None) -> App:
    """Give ``app`` another broker or result store, where one is named.

    Raises:
        ConfigurationError: a URL cannot work.
    """
    if broker is None and backend is None:
        return app
    given = Settings.resolve({"broker": broker, "backend": backend}, {})
    app.conf = replace(app.conf, broker=given.broker or app.conf.broker, backend=given.backend or app.conf.backend)
    return app


def only_looking(app: App) -> App:
    """Keep ``app`` from declaring anything: whoever looks changes nothing."""
    app.conf = replace(app.conf, declare="never")
    return app


@contextlib.contextmanager
def connected(app: App) -> Iterator[Client]:
    """Open the App's broker and store at once, without the patience that a program has; close them in the end.

    Raises:
        TransportError: it could not be opened.
    """
    client = app.client
    try:
        client.portal.run(client.connection.open())
        yield client
    finally:
        app.close()


def split_names(text: str | None) -> list[str]:
    """Return the names in ``"a, b"``."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _load(text: str) -> App:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return load_app(Locator.parse(text))
    except CeleriacError:
        raise
    except (Exception, SystemExit) as error:
        print(_user_traceback(error), end="", file=sys.stderr)
        raise AppImportError(f"cannot import {text!r}") from error


def _user_traceback(error: BaseException) -> str:
    """Return the traceback from the first frame that is the user's."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith(_NOT_THEIRS):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))
