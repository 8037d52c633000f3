"""Open a Python prompt with the App and its tasks.

example: celeriac shell -A tasks
         echo 'print(add.delay(4, 4).get(timeout=10))' | celeriac shell -A tasks

`app` is the App; each task stands under its function's name, where only one has that name. On a terminal the prompt is
IPython's where that is installed, else Python's own.
"""

from __future__ import annotations

import code
import contextlib
import importlib
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import celeriac
from celeriac.cli import exits
from celeriac.cli.apps import find_app

if TYPE_CHECKING:
    import argparse

    from celeriac.app import App


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("--plain", action="store_true", help="Python's own prompt, though IPython is installed")


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """Prompt until the end of input.

    Raises:
        UsageError: JSON is asked for.
    """
    if arguments.json:
        raise exits.UsageError("a prompt prints what is typed at it, and no JSON; leave --json away")
    app = find_app(arguments, app)
    names = names_of(app)
    try:
        if arguments.plain or not sys.stdin.isatty() or not _ipython(names):
            _plain(names)
    finally:
        app.close()
    return exits.OK


def names_of(app: App) -> dict[str, Any]:
    """Return what stands under which name: `app`, `celeriac`, and the tasks that no other name hides."""
    tasks = list(app.tasks.values())
    counts = Counter(task.__name__ for task in tasks)
    unique = {task.__name__: task for task in tasks if counts[task.__name__] == 1}
    return {**unique, "app": app, "celeriac": celeriac}


def _banner(names: dict[str, Any]) -> str:
    tasks = sorted(names.keys() - {"app", "celeriac"})
    app = names["app"]
    hidden = len(app.tasks) - len(tasks)
    more = f", and {hidden} under app.tasks" if hidden else ""
    return f"celeriac {celeriac.__version__}, {app!r}\ntasks: {', '.join(tasks) or 'none'}{more}"


def _ipython(names: dict[str, Any]) -> bool:
    """Prompt by IPython; return whether there is one."""
    try:
        ipython = importlib.import_module("IPython")
    except ImportError:
        return False
    print(_banner(names))
    ipython.start_ipython(argv=["--no-banner"], user_ns=names)
    return True


def _plain(names: dict[str, Any]) -> None:
    with contextlib.suppress(ImportError):  # a Python that was built without it
        import readline  # noqa: PLC0415 - changes how input() reads
        import rlcompleter  # noqa: PLC0415

        readline.set_completer(rlcompleter.Completer(names).complete)
        readline.parse_and_bind("tab: complete")
    if not sys.stdin.isatty():
        sys.ps1 = sys.ps2 = ""  # nobody sees a prompt
    try:
        code.interact(banner=_banner(names) if sys.stdin.isatty() else "", local=names, exitmsg="")
    except SystemExit as leaving:
        if leaving.code is not None:
            raise
