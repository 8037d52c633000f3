"""List the brokers, result stores and serializers that are installed, or check one against the contracts.

example: celeriac plugins
         celeriac plugins --json
         celeriac plugins check nats://localhost

A plugin that does not load, or was written for another contract, is listed with the reason, and the exit code is 1. One
whose driver is an extra that is not installed is listed with what to install; that is no failure. With -A, what the App
registers itself is listed too.

`check` runs the conformance kit against a broker that runs, and prints a table by clause. It takes minutes. Its queues
have names of their own, beginning with `kit-`, and are deleted again; exchanges of such names stay where the broker
keeps exchanges, as nothing in the port deletes one. What happens to a lost connection is tried too if the URL says the
port, through a proxy. It needs pytest: pip install 'celeriac[testing]'.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

from celeriac.app import App
from celeriac.cli import exits
from celeriac.cli.apps import find_app, split_names
from celeriac.cli.output import print_json, print_table
from celeriac.cli.plugincheck import check
from celeriac.clock import SystemClock
from celeriac.errors import CeleriacError, PluginError
from celeriac.topology import PRIORITY_LEVELS, Queue
from celeriac.transport import Capabilities

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from celeriac.plugins import Plugins
    from celeriac.transport import Transport

HEAD = ("PLUGIN", "FROM", "VERSION", "BROKERS", "RESULT STORES", "SERIALIZERS", "CONTRACT", "STATUS")
CAPABLE_HEAD = ("BROKER", "CAPABILITIES")
DAY = 86_400  # seconds
ANYWHERE = ("", "localhost", "/celeriac")  # what may follow ``scheme://`` for a URL that is never opened


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("action", nargs="?", default="list", choices=("list", "check"), help="by default: list")
    parser.add_argument("url", nargs="?", metavar="URL", help="of the broker to check")
    parser.add_argument("--only", metavar="A,B", help="check these clauses or sections alone: OPS,PUB-6")


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """List them, or check one; fails if one of them cannot be used, or a clause does not hold.

    Raises:
        UsageError: there is no URL to check, or one to list.
    """
    if (arguments.action == "check") is (arguments.url is None):
        raise exits.UsageError("check wants the URL of a broker" if arguments.url is None else "list wants no URL")
    if app is not None or arguments.app is not None:
        app = find_app(arguments, app)
    plugins = (app or App()).plugins
    if arguments.url is not None:
        return check(plugins, arguments.url, only=split_names(arguments.only), as_json=arguments.json)
    rows = _rows(plugins)
    if arguments.json:
        print_json(rows)
    else:
        print_table(HEAD, [_cells(row) for row in rows])
        print()
        print_table(CAPABLE_HEAD, [(scheme, _said(can)) for row in rows for scheme, can in row["capabilities"].items()])
    return exits.FAILED if any(row["error"] for row in rows) else exits.OK


def _rows(plugins: Plugins) -> list[dict[str, Any]]:
    brokers, stores = plugins.schemes("celeriac_transports"), plugins.schemes("celeriac_result_stores")
    codecs = plugins.schemes("celeriac_serializers")
    rows = []
    for installed in plugins.installed:  # asked after the hooks, whose failures it tells
        name = installed.full_name
        about = {"name": installed.name, "distribution": installed.distribution, "version": installed.version}
        offers = brokers.pop(name, []), stores.pop(name, []), codecs.pop(name, [])
        rows.append({**about, **_judged(plugins, *offers, installed.error)})
    mine, kept, read = (sorted(chain(*found.values())) for found in (brokers, stores, codecs))
    failed = "; ".join(f"{name}: {why}" for name, why in plugins.failed().items())
    if mine or kept or read or failed:
        about = {"name": "registered", "distribution": "the App", "version": "-"}
        rows.append({**about, **_judged(plugins, mine, kept, read, failed or None)})
    return rows


def _judged(
    plugins: Plugins, brokers: list[str], stores: list[str], serializers: list[str], error: str | None
) -> Mapping[str, Any]:
    contracts: set[int] = set()
    capabilities = {}
    problems: list[PluginError] = []
    for scheme in brokers:
        try:
            transport = plugins.transport(f"{scheme}://")
            contracts.add(transport.contract)
            capabilities[scheme] = _capabilities(transport, scheme)
        except PluginError as problem:
            problems.append(problem)
    for scheme in stores:
        try:
            contracts.add(plugins.result_store(f"{scheme}://").contract)
        except PluginError as problem:
            problems.append(problem)
    for content_type in serializers:
        try:
            plugins.serializer(content_type)
        except PluginError as problem:
            problems.append(problem)
    contracts |= {problem.contract for problem in problems if problem.contract is not None}
    faults = [str(problem) for problem in problems if problem.install is None]
    return {
        "brokers": brokers,
        "result_stores": stores,
        "serializers": serializers,
        "contracts": sorted(contracts),
        "capabilities": capabilities,
        "error": error or next(iter(faults), None),
        "install": next((problem.install for problem in problems if problem.install), None),
    }


def _capabilities(cls: type[Transport], scheme: str) -> dict[str, Any] | None:
    """Return what a queue with priorities can do there, asked of a URL that is never opened; times in seconds.

    Raises:
        PluginError: the plugin raises what no plugin may.
    """
    for place in ANYWHERE:
        try:
            transport = cls([f"{scheme}://{place}"], clock=SystemClock(), on_lost=lambda _error: None)
            found = transport.capabilities(Queue("plugins", priorities=PRIORITY_LEVELS))
            return {field.name: _seconds(getattr(found, field.name)) for field in fields(Capabilities)}
        except CeleriacError:
            continue
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise PluginError(f"the broker {scheme}:// cannot be asked for its capabilities: {said}") from error
    return None


def _seconds(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _said(capabilities: Mapping[str, Any] | None) -> str:
    if capabilities is None:
        return "?"
    return ", ".join(_declared(capabilities)) or "none"


def _declared(capabilities: Mapping[str, Any]) -> Iterator[str]:
    nothing = {None, False} if capabilities["max_delay"] else {None, False, capabilities["delay_resolution"]}
    for name, value in capabilities.items():
        if value is True:
            yield name
        elif name == "priority_levels":
            yield from [f"priorities={value}"] if value > 1 else []
        elif value not in nothing:
            yield f"{name}={value / DAY:g} d" if value >= DAY else f"{name}={value:g} s"


def _cells(row: Mapping[str, Any]) -> list[object]:
    lists = [", ".join(map(str, row[name])) or "-" for name in ("brokers", "result_stores", "serializers", "contracts")]
    state = "ok" if row["install"] is None else f"not installed: pip install '{row['install']}'"
    return [row["name"], row["distribution"], row["version"], *lists, row["error"] or state]
