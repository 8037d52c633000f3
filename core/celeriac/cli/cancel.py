"""See that tasks are not run, and end those that run.

example: celeriac cancel -A tasks 3f0c5a1e-...
         celeriac cancel -A tasks 3f0c5a1e-... 77b1d2c0-... --terminate

What has not begun never runs, though every worker be down just now; a coroutine that runs is cancelled; a function that
runs goes on, but for --terminate, which kills its process. Their state is REVOKED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.cli import exits
from celeriac.cli.apps import connected, find_app_or_broker, only_looking
from celeriac.cli.output import print_json

if TYPE_CHECKING:
    import argparse

    from celeriac.app import App


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("ids", nargs="+", metavar="ID", help="tasks")
    parser.add_argument("--terminate", action="store_true", help="kill the process that runs it")
    parser.add_argument(
        "--best-effort",
        action="store_true",
        help="where the broker keeps no revocations, tell the workers that run now",
    )


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """Cancel them.

    Raises:
        Unsupported: the broker keeps no revocations, and no best effort was asked for.
    """
    app = only_looking(find_app_or_broker(arguments, app))
    with connected(app):
        app.revoke(arguments.ids, terminate=arguments.terminate, best_effort=arguments.best_effort)
    if arguments.json:
        print_json([{"id": task_id, "terminate": arguments.terminate} for task_id in arguments.ids])
    else:
        for task_id in arguments.ids:
            print(f"{task_id}: cancelled")
    return exits.OK
