"""Ask the workers on this machine whether they are well: 0 if all are, 1 if one is not, or none is there.

example: celeriac health
         celeriac health -n mail@%h --json
         celeriac health --live

Neither the App is imported nor the broker asked: a worker tells of itself about once a second, in a file that only its
own user can read, and asks the broker every few seconds. With --live only what a new start would mend counts: its
process, its loop and its pool; otherwise also whether it is connected and consumes.
"""

from __future__ import annotations

from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING

from celeriac.cli import exits
from celeriac.cli.names import node_name
from celeriac.cli.output import print_json
from celeriac.errors import CeleriacError
from celeriac.worker.health import SUFFIX, file_of, is_alive, read, runtime_dirs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from celeriac.app import App
    from celeriac.worker.health import Health


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("-n", "--hostname", metavar="NAME", help="the worker's node name; by default: all workers")
    parser.add_argument("--live", action="store_true", help="ask only whether it should be started again")


def run(arguments: argparse.Namespace, app: App | None) -> int:
    """Ask them.

    Raises:
        CeleriacError: no worker has told of itself.
    """
    del app
    name = node_name(arguments.hostname)
    found = _told(name)
    if not found:
        called = f" called {name}" if name else ""
        places = ", ".join(map(str, runtime_dirs()))
        raise CeleriacError(f"no worker{called} of this user has told of itself on this machine (in {places})")
    problems = [_problems(health, live=arguments.live) for health in found]
    if arguments.json:
        pairs = zip(found, problems, strict=True)
        print_json([{**asdict(health), "healthy": not why, "problems": why} for health, why in pairs])
    else:
        for health, why in zip(found, problems, strict=True):
            how = "; ".join(why) or f"well, {health.running} tasks running, {health.held} held"
            print(f"{health.node} (pid {health.pid}): {how}")
    return exits.FAILED if any(problems) else exits.OK


def _told(name: str | None) -> Sequence[Health]:
    """Return what workers have told of themselves."""
    found = []
    for folder in runtime_dirs():
        files = sorted(folder.glob(f"*{SUFFIX}")) if name is None else [file_of(name, folder)]
        found += [health for health in map(read, files) if health is not None]
    return found


def _problems(health: Health, *, live: bool) -> Sequence[str]:
    if not is_alive(health.pid):
        return ["its process is gone"]
    now = monotonic()
    return health.not_live(now) if live else health.not_ready(now)
