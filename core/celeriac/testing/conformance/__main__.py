"""``python -m celeriac.testing.conformance``: run the kit, and tell of each test by a line of JSON.

One line of JSON on standard input says what to try: ``urls``, whether there is a ``store``, and which clauses or
sections matter, ``only``; none is all. (A URL may hold a password, and a command line is for everyone to read.) On
standard output come ``{"tests": n}``, one line for each test with ``test``, ``clauses``, ``outcome`` and ``why``, and
``{"end": pytest's exit code}``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import IO, Any

import pytest

from celeriac.testing.conformance import live


class Reporter:
    """A pytest plugin that tells of each test, and gives the tests what they are to try."""

    def __init__(self, order: dict[str, Any], out: IO[str]) -> None:
        """Write to ``out``."""
        self._order = order
        self._out = out
        self._clauses: dict[str, tuple[str, ...]] = {}

    @pytest.fixture
    def order(self) -> dict[str, Any]:
        """What is to be tried."""
        return self._order

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out the tests of other clauses than those that matter."""
        wanted = set(self._order["only"])
        items[:] = [item for item in items if not wanted or not _sections(item).isdisjoint(wanted)]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Tell how many tests there are."""
        for item in session.items:
            self._clauses[item.nodeid] = _clauses(item)
        self.say(tests=len(session.items))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell of a test once it is over, or has failed before or after."""
        if report.when == "call" or report.outcome != "passed":
            self.say(
                test=report.nodeid.rpartition("::")[2],
                clauses=self._clauses[report.nodeid],
                outcome=report.outcome,
                why=_why(report),
            )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tell why the kit itself cannot be loaded."""
        if report.failed:
            self.say(broken=str(report.longrepr))

    def say(self, **values: object) -> None:
        """Write one line."""
        self._out.write(json.dumps(values) + "\n")
        self._out.flush()


def _clauses(item: pytest.Item) -> tuple[str, ...]:
    return tuple(getattr(getattr(item, "obj", None), "clauses", ()))


def _sections(item: pytest.Item) -> set[str]:
    """Return the clauses of a test, ``OPS-5``, and their sections, ``OPS``."""
    clauses = _clauses(item)
    return {*clauses, *(clause.rpartition("-")[0] for clause in clauses)}


def _why(report: pytest.TestReport) -> str:
    """Return one line: the reason of a skip, or what was raised."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = [line.strip() for line in (crash.message if crash else str(report.longrepr or "")).splitlines()]
    return next(filter(None, lines), "")


def main() -> int:
    """Run the kit as standard input says; what it prints goes to standard error."""
    order = json.loads(sys.stdin.readline())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    reporter = Reporter(order, out)
    with tempfile.TemporaryDirectory(prefix="celeriac-check-") as folder:
        options = ["-p", "no:terminal", "-p", "no:cacheprovider", "--noconftest", "-c", os.devnull, "--rootdir", folder]
        code = pytest.main([*options, "--pyargs", live.__name__], plugins=[reporter])
    reporter.say(end=int(code))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
