"""Show the state and the result of a task.

example: celeriac result -A tasks 3f0c5a1e-... --wait 10

It exits with 0 for a task that succeeded, 1 for one that failed or was revoked, and 75 for one that is not done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.cli import outcome
from celeriac.cli.apps import connected, find_app_or_broker, only_looking
from celeriac.errors import UnknownTask

if TYPE_CHECKING:
    import argparse

    from celeriac.app import App


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("id", metavar="ID", help="the task's id")
    outcome.add_arguments(parser)


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """Show it.

    Raises:
        UnknownTask: the store never saw that id, or has forgotten it.
    """
    app = only_looking(find_app_or_broker(arguments, app))
    with connected(app) as client:
        record = client.portal.run(client.look(arguments.id))
        if record is None and client.connection.store.capabilities().knows_unknown:
            raise UnknownTask(f"no task {arguments.id} is known: it was sent without a result, or has expired")
        return outcome.wait_and_show(app.AsyncResult(arguments.id), arguments)
