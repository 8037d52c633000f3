"""What every command ends with, and what it says on standard error when that is no success.

The numbers above 2 are those of BSD's ``sysexits.h``, so that a supervisor can tell what helps: 69 and 75 to try again,
77 and 78 to change something first.

====  ==================================================================================================
code  meaning
====  ==================================================================================================
0     done; for a worker: it was told to stop
1     the task failed, or the operation could not be done; for a worker: it could not go on
2     the command line is wrong
69    the broker or the result store does not answer
75    no result yet, or not within ``--wait``
77    the broker refused the credentials, the virtual host or a permission
78    a URL, a setting or a declaration cannot work, or no App was found
130   interrupted from the keyboard
141   nobody reads our output any more
====  ==================================================================================================
"""

from __future__ import annotations

import sys
import textwrap

from celeriac.errors import (
    AccessRefused,
    CeleriacError,
    ConfigurationError,
    ConnectionLost,
    DeadLetterNotFound,
    NoResultStore,
    NotRegistered,
    QueueNotFound,
    ResultTimeout,
    TopologyMismatch,
    Unroutable,
    WorkerFailed,
)

OK = 0
FAILED = 1
USAGE = 2
UNAVAILABLE = 69
NOT_YET = 75
REFUSED = 77
MISCONFIGURED = 78
INTERRUPTED = 130
UNREAD = 141

LONGEST_MESSAGE = 600
HELP = "See {prog} --help"

# the first class that fits decides: its exit code, and the next step
_ANSWERS: tuple[tuple[type[Exception], int, str], ...] = (
    (ResultTimeout, NOT_YET, "Ask again later: celeriac result ID --wait SECONDS"),
    (ConnectionLost, UNAVAILABLE, "Is the broker running, and is this its URL? Give another with -b URL."),
    (AccessRefused, REFUSED, "Check user, password, virtual host or database in the URL; of a file, who may write it."),
    (TopologyMismatch, MISCONFIGURED, "Declare it as it exists, delete it on the broker, or give another name."),
    (NotRegistered, FAILED, "See the names with: celeriac tasks -A module"),
    (ConfigurationError, MISCONFIGURED, HELP),
    (DeadLetterNotFound, FAILED, "See the dead letters with: celeriac dead list"),
    (QueueNotFound, FAILED, "See the queues with: celeriac queues list"),
    (Unroutable, FAILED, "Bind a queue to that exchange and key, or send to a queue: --queue NAME"),
    (NoResultStore, FAILED, "Give a store that both processes can reach: --result-backend URL"),
    (CeleriacError, FAILED, ""),
)


class UsageError(Exception):
    """The command line is wrong."""


def explain(prog: str, error: Exception) -> int:
    """Say what went wrong and what to do next, in at most three lines on standard error; return the exit code."""
    if isinstance(error, UsageError):
        code, step = USAGE, HELP
    else:
        code, step = next((code, step) for cls, code, step in _ANSWERS if isinstance(error, cls))
    message = str(error)
    if not isinstance(error, WorkerFailed):  # that one brings the traceback of whoever failed
        message = textwrap.shorten(message, LONGEST_MESSAGE, placeholder=" ...")
    print(f"{prog}: {message}", *filter(None, [step.format(prog=prog)]), sep="\n", file=sys.stderr)
    return code
