"""Show every setting, its value, and where it came from.

example: celeriac config show -A tasks --origin
         celeriac config show -A tasks --json

Without an App, it shows what one would have whose program lies in the working directory. Passwords, keys and tokens
are masked.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from celeriac.cli import exits
from celeriac.cli.apps import app_of_nobody, find_app
from celeriac.cli.output import print_json, print_table
from celeriac.settings import Settings

if TYPE_CHECKING:
    import argparse

    from celeriac.app import App


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("action", nargs="?", default="show", choices=["show"], help="by default: show")
    parser.add_argument("--origin", action="store_true", help="show where each value came from")


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """Show them."""
    named = app is not None or arguments.app is not None
    rows = described(find_app(arguments, app) if named else app_of_nobody(arguments))
    if arguments.json:
        print_json(rows)
        return exits.OK
    head = ("SETTING", "VALUE", "ORIGIN") if arguments.origin else ("SETTING", "VALUE")
    print_table(head, [(row["name"], _text(row["value"]), row["origin"])[: len(head)] for row in rows])
    return exits.OK


def described(app: App) -> list[dict[str, Any]]:
    """Return each setting of ``app`` by name, value and origin; secrets masked.

    Raises:
        ConfigurationError: a setting cannot work, or a file that should hold some cannot be read.
    """
    origins = app.configuration.origins(app.conf)
    return [
        {"name": each.name, "value": app.conf.shown(each.name), "origin": origins[each.name]}
        for each in fields(Settings)
    ]


def _text(value: Any) -> str:
    """Return a value as one would write it, ``-`` for none."""
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)
