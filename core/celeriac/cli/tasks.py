"""List the tasks of an App: their names, signatures and own options.

example: celeriac tasks -A tasks
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from celeriac.cli import exits
from celeriac.cli.apps import find_app
from celeriac.cli.output import print_json

if TYPE_CHECKING:
    import argparse

    from celeriac.app import App
    from celeriac.task import Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments: none."""
    del parser


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """List them."""
    app = find_app(arguments, app)
    tasks = [_described(app.tasks[name]) for name in sorted(app.tasks)]
    if arguments.json:
        print_json(tasks)
        return exits.OK
    for task in tasks:
        options = "".join(f"  {name}={value!r}" for name, value in task["options"].items())
        print(f"{'async ' if task['async'] else ''}{task['name']}{task['signature']}{options}")
        if task["doc"]:
            print(f"    {task['doc']}")
    return exits.OK


def _described(task: Task[..., Any]) -> dict[str, Any]:
    signature = inspect.signature(task.fn)
    if task.bind:  # callers do not give the first
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    own = {"acks_late": task.acks_late, "ignore_result": task.ignore_result}
    defaults = {each.name: getattr(task.defaults, each.name) for each in fields(task.defaults)}
    without = {each.name: each.default for each in fields(task.defaults)}
    return {
        "name": task.name,
        "signature": str(signature),
        "async": task.is_async,
        "options": {
            **{name: value for name, value in own.items() if value is not None},
            **{name: value for name, value in defaults.items() if value != without[name]},
        },
        "doc": (inspect.getdoc(task.fn) or "").partition("\n")[0],
    }
