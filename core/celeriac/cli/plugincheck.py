"""``celeriac plugins check URL``: the conformance kit against a live broker, told clause by clause."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from celeriac.cli import exits
from celeriac.cli.output import print_json, print_table
from celeriac.clock import SystemClock
from celeriac.connection import scoped
from celeriac.errors import ConfigurationError, TransportError
from celeriac.transport_helpers import masked, masked_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from celeriac.plugins import Plugins
    from celeriac.transport import Transport

KIT = "celeriac.testing.conformance"
HEAD = ("CLAUSE", "STATUS", "TESTS", "WHY")
PASSED, FAILED, NOT_DECLARED, NOT_CHECKED, ELSEWHERE = (
    "passed",
    "failed",
    "not declared",
    "not checked",
    "does not apply",
)
LONGEST_WHY = 160
ENDS = (0, 1)  # pytest's exit codes when it has run tests
EVERY = 20  # tests between two lines of progress, where there is no terminal


@dataclass(slots=True)
class Clause:
    """What became of one clause.

    Attributes:
        id: as in the contract.
        status: one of the words above.
        tests: how many tests of it were run.
        why: one line, where it did not pass.
    """

    id: str
    status: str = ""
    tests: int = 0
    why: str = ""
    _skips: list[str] = field(default_factory=list)

    def add(self, test: str, outcome: str, why: str) -> None:
        """Take in one test."""
        if outcome == "skipped":
            self._skips.append(why)
            return
        self.tests += 1
        if outcome == FAILED and self.status != FAILED:
            self.status, self.why = FAILED, f"{test}: {_shortened(why)}"
        elif not self.status:
            self.status = PASSED

    def judge(self) -> None:
        """Say what it means that no test of it was run."""
        if self.status:
            return
        for status, word in ((NOT_DECLARED, "not declared"), (NOT_CHECKED, "gives no"), (ELSEWHERE, "")):
            why = next((skip for skip in self._skips if word in skip), None)
            if why is not None:
                self.status, self.why = status, why
                return

    def as_row(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}


def check(plugins: Plugins, url: str, *, only: Sequence[str] = (), as_json: bool) -> int:
    """Run the kit against the broker at ``url`` (several addresses of one cluster: `;` between), and print a table.

    With ``only``, just the clauses (``OPS-5``) or sections (``OPS``) named. Every queue has a name of its own, which
    begins with ``kit-``, and is deleted again.

    Raises:
        ConfigurationError: no plugin has the scheme, the URL cannot work, or pytest is missing.
        ConnectionLost: nobody answers there.
        AccessRefused: the broker refuses us.
    """
    urls = tuple(url.split(";"))
    cls = plugins.transport(urls[0])
    urls = scoped(urls, "celeriac-check") if cls.scoped else urls
    if importlib.util.find_spec("pytest") is None:
        raise ConfigurationError("the conformance kit needs pytest: pip install 'celeriac[testing]'")
    asyncio.run(_reach(cls, urls))
    begun = SystemClock().monotonic()
    order = {"urls": urls, "store": urls[0].partition("://")[0] in plugins.result_stores(), "only": only}
    clauses = [clause for clause in _judged(_ran(order)) if _matters(clause.id, only)]
    seconds = SystemClock().monotonic() - begun
    ok = all(clause.status != FAILED for clause in clauses)
    if as_json:
        rows = [clause.as_row() for clause in clauses]
        print_json({"url": masked_all(urls), "contract": cls.contract, "ok": ok, "seconds": seconds, "clauses": rows})
    else:
        print_table(HEAD, [(clause.id, clause.status, clause.tests, clause.why) for clause in clauses])
        print(_summary(clauses, seconds))
    return exits.OK if ok else exits.FAILED


async def _reach(cls: type[Transport], urls: Sequence[str]) -> None:
    """Open and close it once: one clear error instead of a hundred."""
    transport = cls(urls, clock=SystemClock(), on_lost=lambda _error: None)
    try:
        await transport.open()
    finally:
        await transport.close()


def _matters(clause: str, only: Sequence[str]) -> bool:
    return not only or clause in only or clause.rpartition("-")[0] in only


def _ran(order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run the kit in a process of its own, without the pytest plugins and settings of this place; yield each test.

    Raises:
        TransportError: it ended before its end.
    """
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", KIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
    )
    assert process.stdin is not None  # noqa: S101 - for the type checker
    assert process.stdout is not None  # noqa: S101 - as above
    with process:
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.close()
            yield from _told(process.stdout)
        finally:
            process.kill()


def _told(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    done = of = 0
    for line in lines:
        said = json.loads(line)
        of = said.get("tests", of)
        if "test" in said:
            done += 1
            _progress(done, of)
            yield said
        elif "broken" in said:
            raise TransportError(f"the conformance kit does not load: {said['broken']}")
        elif said.get("end") in ENDS:
            return
    raise TransportError(f"the conformance kit ended after {done} of {of} tests, without a word")


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {of} tests", end="\n" if done >= of else "", file=sys.stderr, flush=True)
    elif done % EVERY == 0 or done == of:
        print(f"{done} of {of} tests", file=sys.stderr, flush=True)


def _judged(tests: Iterable[dict[str, Any]]) -> list[Clause]:
    clauses: dict[str, Clause] = {}
    for test in tests:
        for name in test["clauses"]:
            clauses.setdefault(name, Clause(name)).add(test["test"], test["outcome"], test["why"])
    for clause in clauses.values():
        clause.judge()
    return sorted(clauses.values(), key=lambda clause: _order(clause.id))


def _order(name: str) -> tuple[str, int]:
    section, number = re.fullmatch(r"(.+)-(\d+)", name).groups()  # type: ignore[union-attr] # a clause's id
    return section, int(number)


def _summary(clauses: Sequence[Clause], seconds: float) -> str:
    counts = {status: sum(clause.status == status for clause in clauses) for status in (PASSED, FAILED)}
    rest = len(clauses) - sum(counts.values())
    return (
        f"{len(clauses)} clauses in {seconds:.0f} s: {counts[PASSED]} passed, {counts[FAILED]} failed, "
        f"{rest} not declared or not checked"
    )


def _shortened(why: str) -> str:
    line = masked(why)
    return line if len(line) <= LONGEST_WHY else line[: LONGEST_WHY - 4] + " ..."
