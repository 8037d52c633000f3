"""How a task's state and result are shown, for ``call`` and ``result``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from celeriac import states
from celeriac.cli import exits
from celeriac.cli.output import print_json

if TYPE_CHECKING:
    import argparse

    from celeriac.result import AsyncResult

_EXITS = {states.SUCCESS: exits.OK, states.FAILURE: exits.FAILED, states.REVOKED: exits.FAILED}


def wait_and_show(result: AsyncResult[Any], arguments: argparse.Namespace) -> int:
    """Wait up to ``--wait`` seconds, if given, then print the state and the result; return the exit code.

    Raises:
        ResultTimeout: it did not come in time.
    """
    if arguments.wait is not None:
        result.get(arguments.wait, propagate=False)
    state = result.state
    value = result.result
    error = value if isinstance(value, BaseException) and state != states.SUCCESS else None
    trace = result.traceback if error is not None and arguments.traceback else None
    if arguments.json:
        if error is None and value is not None and result.task is not None and result.task.types is not None:
            value = result.task.types.dump_result(value)
        earlier = [dict(entry) for entry in result.history]
        shown = {"id": result.id, "state": state, "result": value if error is None else None, "history": earlier}
        if error is not None:
            shown |= {"error": {"type": type(error).__name__, "message": str(error)}, "traceback": trace}
        print_json(shown)
    elif state == states.SUCCESS:
        print(f"{state}: {value!r}")
    else:
        print(state if error is None else f"{state}: {type(error).__name__}: {error}")
        if trace:
            print(trace, end="", file=sys.stderr)
    return _EXITS.get(state, exits.NOT_YET)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how long to wait and how much to show."""
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="wait so long for the result")
    parser.add_argument("--traceback", action="store_true", help="show the traceback of a failure")
