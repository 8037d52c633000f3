"""Tell all that a bug report should: versions, platform, settings, plugins, and whether the broker answers.

example: celeriac report -A tasks
         celeriac report -A tasks --json

Passwords, keys and tokens are masked. What cannot be had is told too: the report itself does not fail.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any

import celeriac
from celeriac.cli import exits
from celeriac.cli.apps import app_of_nobody, connected, find_app, only_looking
from celeriac.cli.config import described
from celeriac.cli.output import print_json
from celeriac.clock import SystemClock
from celeriac.configuration import DEFAULT
from celeriac.errors import CeleriacError
from celeriac.transport_helpers import masked

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from celeriac.app import App

_monotonic = SystemClock().monotonic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments: none."""
    del parser


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """Tell it."""
    told: dict[str, Any] = {"versions": _versions(), "platform": _platform()}
    named = app is not None or arguments.app is not None
    try:
        found = find_app(arguments, app) if named else app_of_nobody(arguments)
    except CeleriacError as error:
        told["app"] = _failed(error)
    else:
        told |= {
            "app": _tried(lambda: _app(found)),
            "settings": _tried(lambda: _settings(found)),
            "plugins": _tried(lambda: _plugins(found)),
            "broker": _tried(lambda: _broker(found)),
        }
    if arguments.json:
        print_json(told)
    else:
        _show(told)
    return exits.OK


def _tried(part: Callable[[], Any]) -> Any:
    try:
        return part()
    except Exception as error:  # noqa: BLE001 - a report tells what is broken, whatever that raises
        return _failed(error)


def _failed(error: Exception) -> dict[str, str]:
    return {"error": f"{type(error).__name__}: {masked(str(error))}"}


def _versions() -> dict[str, str]:
    """Return the versions of Python, of celeriac, and of all that it uses where that is installed."""
    found = {"python": f"{platform.python_version()} ({platform.python_implementation()})"}
    found["celeriac"] = celeriac.__version__
    wanted = {re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in requires("celeriac") or () if "'dev'" not in each}
    for name in sorted((wanted | {"ipython"}) - {"celeriac"}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _platform() -> dict[str, Any]:
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "system": platform.platform(),
        "processors": len(affinity(0)) if affinity else os.cpu_count(),
        "encoding": f"{sys.getfilesystemencoding()}, standard output {getattr(sys.stdout, 'encoding', None)}",
    }


def _app(app: App) -> dict[str, Any]:
    return {
        "main": app.main,
        "tasks": len(app.tasks),
        "queues": [queue.name for queue in app.queues],
        "found by other processes": app.locator is not None,
    }


def _settings(app: App) -> dict[str, Any]:
    """Return what is not the default."""
    return {row["name"]: f"{row['value']!r}, {row['origin']}" for row in described(app) if row["origin"] != DEFAULT}


def _plugins(app: App) -> dict[str, str]:
    plugins = app.plugins
    told = {each.name: f"{each.distribution} {each.version}, {each.error or 'ok'}" for each in plugins.installed}
    told["brokers"] = ", ".join(sorted(plugins.transports()))
    told["result stores"] = ", ".join(sorted(plugins.result_stores()))
    return told


def _broker(app: App) -> dict[str, Any]:
    connection = only_looking(app).client.connection
    told = {"broker": connection.address, "results": connection.store_address}
    begun = _monotonic()
    try:
        with connected(app):
            seconds = _monotonic() - begun
    except Exception as error:  # noqa: BLE001 - as in _tried
        return {**told, "reachable": False, **_failed(error)}
    return {**told, "reachable": True, "opened in": f"{seconds * 1000:.0f} ms"}


def _show(told: dict[str, Any]) -> None:
    for title, fields in told.items():
        print(f"{title}:")
        for name, value in fields.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            print(f"  {name}: {text}")
