"""The question before something is lost for good."""

from __future__ import annotations

import sys

from celeriac.cli import exits


def agreed(question: str) -> bool:
    """Ask on the terminal; return whether the answer was yes.

    Raises:
        UsageError: there is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise exits.UsageError("nobody can be asked here; say -f to purge without asking")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
