"""The command line: finds the command, gives it its options, and turns what it raises into an exit code.

A command is a module of this package with ``add_arguments(parser)`` and ``run(arguments, app) -> int``; it is imported
only when it is the one that was asked for. Options that every command has may stand before its name or after it, as
Celery's users are used to from both its ages.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import celeriac
from celeriac.cli import exits
from celeriac.errors import CeleriacError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.app import App

COMMANDS = {
    "worker": "run the tasks of an App",
    "call": "send a task, and wait for its result if asked",
    "result": "show the state and the result of a task",
    "cancel": "see that tasks are not run, and end those that run",
    "queues": "look at queues, purge, pause and resume them",
    "dead": "look at dead letters, send them back or drop them",
    "tasks": "list the tasks of an App",
    "config": "show the settings, and where each came from",
    "plugins": "list the brokers and result stores that are installed",
    "health": "ask the workers on this machine whether they are well",
    "shell": "open a Python prompt with an App and its tasks",
    "report": "tell all that a bug report should",
    "completion": "print a script that completes commands in a shell",
    "demo": "try it: a worker, some tasks and their results, on this machine",
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are short and name the next step."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the whole usage."""
        raise exits.UsageError(message)


def main(argv: Sequence[str] | None = None, *, app: App | None = None) -> int:
    """Run one command and return its exit code; see `celeriac.cli.exits`.

    Args:
        argv: the command line without the program's name; by default that of the process.
        app: the App to work for, instead of one named by ``-A``.
    """
    prog = "celeriac"
    _let_term_end_the_first_process()
    try:
        before = _before_the_command().parse_args(argv)
        prog = f"celeriac {before.command}"
        command, arguments = _parsed(prog, before)
        code = int(command.run(arguments, app))
        sys.stdout.flush()  # a reader that has gone is noticed here, not at the interpreter's end
    except (CeleriacError, exits.UsageError) as error:
        return exits.explain(prog, error)
    except SystemExit as leaving:  # --help and --version
        return leaving.code if isinstance(leaving.code, int) else exits.FAILED
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:  # whoever read us has gone: `celeriac tasks | head`
        with contextlib.suppress(OSError):
            sys.stdout.close()
        return exits.UNREAD
    return code


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return what a command line says, and run nothing; ``command`` is the command's name.

    Raises:
        UsageError: there is no such command, or it has no such option.
    """
    before = _before_the_command().parse_args(argv)
    _, arguments = _parsed(f"celeriac {before.command}", before)
    return argparse.Namespace(**vars(arguments), command=before.command)


def _parsed(prog: str, before: argparse.Namespace) -> tuple[Any, argparse.Namespace]:
    """Return the command's module, and what its own part of the command line says."""
    command = importlib.import_module(f"celeriac.cli.{before.command}")
    return command, _of_the_command(prog, command, before).parse_intermixed_args(before.rest)


def _let_term_end_the_first_process() -> None:
    """Let TERM end us while we begin, as PID 1 of a container too, which the kernel spares what it does not handle."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))


def _before_the_command() -> Parser:
    commands = "\n".join(f"  {name:12}{meaning}" for name, meaning in COMMANDS.items())
    parser = Parser(
        prog="celeriac",
        usage="celeriac [-A APP] COMMAND [OPTIONS]",
        description=f"A distributed task queue.\n\ncommands:\n{commands}",
        epilog="example: celeriac -A tasks worker -l INFO\neach command has its own: celeriac worker --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"celeriac {celeriac.__version__}")
    add_common_arguments(parser)
    parser.add_argument("command", metavar="COMMAND", type=_known, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS).required = False
    return parser


def _of_the_command(prog: str, command: Any, before: argparse.Namespace) -> Parser:
    parser = Parser(
        prog=prog, description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    command.add_arguments(parser)
    add_common_arguments(parser)
    parser.set_defaults(**{name: value for name, value in vars(before).items() if name not in {"command", "rest"}})
    return parser


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command has."""
    parser.add_argument("-A", "--app", metavar="APP", help="where the App is: module, module:name or file.py")
    parser.add_argument("-b", "--broker", metavar="URL", help="the broker's URL, instead of the App's")
    parser.add_argument("--result-backend", metavar="URL", help="the result store's URL, instead of the App's")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _known(name: str) -> str:
    if name not in COMMANDS:
        near = did_you_mean(name, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        raise exits.UsageError(f"no command {name!r}{near}")
    return name
