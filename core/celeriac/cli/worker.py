"""Run the tasks of an App until told to stop.

example: celeriac -A tasks worker -l INFO
         celeriac worker -A tasks -Q mail,reports -c 4 -n mail@%h
         celeriac worker -A tasks --reload

TERM or Ctrl-C lets what runs finish within the grace and gives the rest back; a second one leaves at once.
Options that are not given are the App's settings.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from celeriac.cli import exits
from celeriac.cli.apps import find_app, split_names
from celeriac.cli.banner import Banner
from celeriac.cli.names import node_name
from celeriac.cli.reload import is_reloaded, reload
from celeriac.cli.serving import Serving
from celeriac.errors import ConfigurationError
from celeriac.worker.logs import LogOptions, configure_logging
from celeriac.worker.options import WORKER_SETTINGS, WorkerOptions

if TYPE_CHECKING:
    from celeriac.app import App

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
HIGHEST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments; each that is a setting is left alone where it is not given."""
    add = parser.add_argument
    add("-l", "--loglevel", type=str.upper, choices=LEVELS, default="WARNING", help="by default: WARNING")
    add("-n", "--hostname", metavar="NAME", help="node name; %%h is the host, %%n its first part, %%d its domain")
    add("-Q", "--queues", metavar="A,B", help="the queues to work on; by default those of the App")
    add("-P", "--pool", help="what runs the tasks: process, thread or solo")
    add("-c", "--concurrency", metavar="N", help="processes, or threads of the thread pool")
    add("--threads", metavar="N", help="def tasks that one process runs at a time")
    add("--coroutines", metavar="N", help="async def tasks that one process runs at a time")
    add("--max-tasks-per-child", metavar="N", help="replace a process after so many tasks")
    add("--max-memory-per-child", metavar="KIB", help="replace a process above so much memory")
    add("--time-limit", metavar="SECONDS", help="end a task after so long, unless it says otherwise")
    add("--soft-time-limit", metavar="SECONDS", help="raise SoftTimeLimitExceeded in a task after so long")
    add(
        "--soft-limits-only",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="take tasks with a time limit also into a pool that cannot enforce it",
    )
    add("--stall-timeout", metavar="SECONDS", help="kill a process that is silent for so long while it has work")
    add("--grace", metavar="SECONDS", help="time that running tasks have when the worker is told to stop")
    add("--burst", action="store_true", help="end when nothing is ready in its queues and nothing of its own runs")
    add("--reload", action="store_true", help="start again when a source file has changed, for developing")
    add("--health-port", type=_port, metavar="N", help="serve /live and /ready over HTTP there; 0 is a free port")
    add(
        "--preload",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="import the App once instead of in each process",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is no port: use 0 to {HIGHEST_PORT}")
    return int(text)


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """Serve until told to stop."""
    if arguments.reload and not is_reloaded():
        return _reload(arguments, app)
    app = find_app(arguments, app)
    log = LogOptions(arguments.loglevel, arguments.json)
    given: dict[str, Any] = {name: getattr(arguments, name) for name in WORKER_SETTINGS}
    queues, name = split_names(arguments.queues), node_name(arguments.hostname)
    options = WorkerOptions.of(app, {**given, "queues": queues, "name": name, "log": log, "burst": arguments.burst})
    _refuse_private(app)
    configure_logging(log)
    app.hooks.tell("celeriac_setup_logging", app=app)
    Serving(app, options, Banner(app, as_json=arguments.json), arguments.health_port).run()
    return exits.OK


def _reload(arguments: argparse.Namespace, app: App | None) -> int:
    for flag, given in (("--burst", arguments.burst), ("--health-port", arguments.health_port is not None)):
        if given:
            raise exits.UsageError(f"--reload is for developing and {flag} for operating; leave one of them away")
    program = sys.argv[0] if app is not None else arguments.app
    return reload(program if program and program.endswith(".py") else None, as_json=arguments.json)


def _refuse_private(app: App) -> None:
    connection = app.connect()
    if not connection.capabilities(app.default_queue.name).cross_process:
        raise ConfigurationError(
            f"a worker on {connection.address} could be reached by nobody: that broker lives inside one process. "
            'Give another broker, or run the worker beside the callers: app.run_worker(pool="thread")'
        )
