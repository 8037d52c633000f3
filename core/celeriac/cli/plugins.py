"""List the brokers, result stores and serializers that are installed.

example: celeriac plugins

A plugin that does not load, or whose driver is missing, is listed with the reason. With -A, what the App registers
itself is listed too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.app import App
from celeriac.cli import exits
from celeriac.cli.apps import find_app
from celeriac.cli.output import print_json, print_table
from celeriac.errors import PluginError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from celeriac.plugins import Plugins

HEAD = ("PLUGIN", "FROM", "VERSION", "BROKERS", "RESULT STORES", "SERIALIZERS", "CONTRACT", "STATUS")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments: none."""
    del parser


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """List them; fails if one of them cannot be used."""
    if app is not None or arguments.app is not None:
        app = find_app(arguments, app)
    rows = _rows((app or App()).plugins)
    if arguments.json:
        print_json(rows)
    else:
        print_table(HEAD, [_cells(row) for row in rows])
    return exits.FAILED if any(row["error"] for row in rows) else exits.OK


def _rows(plugins: Plugins) -> list[dict[str, Any]]:
    transports, stores, codecs = plugins.transports(), plugins.result_stores(), plugins.serializers()
    rows = []
    for installed in plugins.installed:
        about = {"name": installed.name, "distribution": installed.distribution, "version": installed.version}
        brokers, results = _take(transports, installed.module), _take(stores, installed.module)
        written = _take(codecs, installed.module)
        rows.append({**about, **_judged(plugins, brokers, results, written, installed.error)})
    if transports or stores or codecs:
        about = {"name": "registered", "distribution": "the App", "version": "-"}
        rows.append({**about, **_judged(plugins, sorted(transports), sorted(stores), sorted(codecs), None)})
    return rows


def _take(found: dict[str, Callable[[], Any]], module: str) -> list[str]:
    """Take out of ``found``, and return, the schemes and content types that come from ``module`` or from inside it."""
    schemes = [
        scheme
        for scheme, factory in found.items()
        if factory.__module__ == module or factory.__module__.startswith(f"{module}.")
    ]
    for scheme in schemes:
        del found[scheme]
    return sorted(schemes)


def _judged(
    plugins: Plugins, brokers: list[str], stores: list[str], serializers: list[str], error: str | None
) -> Mapping[str, Any]:
    contracts: set[int] = set()
    try:
        contracts |= {plugins.transport(f"{scheme}://").contract for scheme in brokers}
        contracts |= {plugins.result_store(f"{scheme}://").contract for scheme in stores}
        for content_type in serializers:
            plugins.serializer(content_type)
    except PluginError as problem:
        error = error or str(problem)
    about = {"brokers": brokers, "result_stores": stores, "serializers": serializers}
    return {**about, "contracts": sorted(contracts), "error": error}


def _cells(row: Mapping[str, Any]) -> list[object]:
    lists = [", ".join(map(str, row[name])) or "-" for name in ("brokers", "result_stores", "serializers", "contracts")]
    return [row["name"], row["distribution"], row["version"], *lists, row["error"] or "ok"]
