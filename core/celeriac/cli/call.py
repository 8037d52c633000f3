"""Send a task; print its id, and with --wait its result.

example: celeriac call -A tasks tasks.add -a '[4, 4]' --wait 10
         celeriac call -b amqp://guest:guest@localhost tasks.add -k '{"x": 4, "y": 4}' --queue mail

With an App the name must be one of its tasks, whose own options hold; with a broker alone any name is sent.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celeriac.cli import exits, outcome
from celeriac.cli.apps import connected, find_app_or_broker
from celeriac.cli.output import print_json
from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from celeriac.app import App
    from celeriac.result import AsyncResult
    from celeriac.task import Task

OPTIONS = ("queue", "exchange", "routing_key", "countdown", "eta", "expires", "priority")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("name", metavar="NAME", help="the task's name")
    parser.add_argument("-a", "--args", default="[]", metavar="JSON", help="positional arguments: a JSON list")
    parser.add_argument("-k", "--kwargs", default="{}", metavar="JSON", help="arguments by name: a JSON object")
    parser.add_argument("--queue", help="the queue to send to")
    parser.add_argument("--exchange", help="the exchange to publish to instead")
    parser.add_argument("--routing-key", help="the key to publish with")
    parser.add_argument("--countdown", type=float, metavar="SECONDS", help="not to be run before so many seconds")
    parser.add_argument("--eta", type=_moment, metavar="MOMENT", help="not to be run before, ISO 8601; UTC if naive")
    parser.add_argument(
        "--expires", type=_seconds_or_moment, metavar="WHEN", help="not to be run after: seconds, or ISO 8601"
    )
    parser.add_argument("--priority", type=int, help="0 to 9, higher is sooner")
    outcome.add_arguments(parser)


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """Send it.

    Raises:
        UsageError: the arguments are no JSON, or do not fit the task.
    """
    args = _json("--args", arguments.args, list, "a list, say '[4, 4]'")
    kwargs = _json("--kwargs", arguments.kwargs, dict, "an object, say '{\"x\": 4}'")
    options = {name: getattr(arguments, name) for name in OPTIONS if getattr(arguments, name) is not None}
    by_name = app is None and arguments.app is None
    given, app = app, find_app_or_broker(arguments, app)
    task = None if by_name else app.tasks[arguments.name]
    connection = app.client.connection
    if given is None and not connection.capabilities(app.default_queue.name).cross_process:
        raise ConfigurationError(f"what is sent to {connection.address} ends with this command; give another broker")
    with connected(app):
        try:
            if task is None:
                result = app.send_task(arguments.name, args, kwargs, **options)
            else:
                result = task.apply_async(*_typed(task, args, kwargs), **options)
        except TypeError as error:
            raise exits.UsageError(str(error)) from None
        return _show(result, arguments)


def _typed(
    task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return JSON as what the task's annotations say."""
    return (args, kwargs) if task.types is None else task.types.load(args, kwargs)


def _show(result: AsyncResult[Any], arguments: argparse.Namespace) -> int:
    if arguments.wait is None:
        if arguments.json:
            print_json({"id": result.id})
        else:
            print(result.id)
        return exits.OK
    if not arguments.json:
        print(result.id, flush=True)
    return outcome.wait_and_show(result, arguments)


def _json(option: str, text: str, kind: type, wanted: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise exits.UsageError(f"{option} {text!r} is no JSON ({error}); give {wanted}") from None
    if not isinstance(value, kind):
        raise exits.UsageError(f"{option} {text!r} is no JSON {wanted}")
    return value


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _seconds_or_moment(text: str) -> float | datetime:
    try:
        return float(text)
    except ValueError:
        return _moment(text)
