"""Try it: a worker, some tasks and their results, on this machine, in a temporary folder.

example: celeriac demo
         celeriac demo -b amqp://guest:guest@localhost

It starts a worker process on a SQLite file, or on the broker that is named, there in a queue of its own. It sends it
`def` and `async def` tasks and one that fails, shows what comes back, and removes everything again. It exits with 0
only if every result was the right one.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac.addresses import file_broker
from celeriac.cli import exits
from celeriac.cli.apps import with_addresses
from celeriac.cli.demo_app import app, divide, factors, greet
from celeriac.cli.output import print_json
from celeriac.clock import SystemClock
from celeriac.errors import ResultTimeout, WorkerFailed
from celeriac.locator import DEFAULT_FILE
from celeriac.transport_helpers import masked

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from celeriac.app import App
    from celeriac.result import AsyncResult

QUEUE = "celeriac-demo"
NUMBERS = range(600_851_475_131, 600_851_475_151)
NAMES = [f"task {number}" for number in range(1, 51)]
PAUSE = 0.2
START_SECONDS = 15.0
RESULT_SECONDS = 30.0
STOP_SECONDS = 10.0
BAR = 40

NEXT = """\
what to try next:
  write a module tasks.py with an App of your own, and run  celeriac -A tasks worker -l INFO
  see what is installed with  celeriac plugins
  read docs/tutorial/first-steps.md"""

_monotonic = SystemClock().monotonic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments: none."""
    del parser


def run(arguments: argparse.Namespace, _app: App | None) -> int:
    """Show it; the App is the demo's own, and so is the broker unless one is named.

    Raises:
        WorkerFailed: the worker did not start.
        ConfigurationError: no plugin has the broker's scheme, or its URL cannot work.
        ConnectionLost: the broker named does not answer.
    """
    say = Told(quiet=arguments.json)
    begun = _monotonic()
    with tempfile.TemporaryDirectory(prefix="celeriac-demo-") as folder:
        url = arguments.broker or file_broker(Path(folder).resolve() / DEFAULT_FILE)
        store = arguments.result_backend or url
        say.line(f"a worker process on the broker {masked(url)}")
        with_addresses(app, url, store)
        try:
            if arguments.broker:
                app.client.portal.run(app.client.connection.open())  # one clear error, if it cannot be
            with _worker(url, store, folder):
                say.line(f"  ready after {_monotonic() - begun:.1f} s")
                wrong = _exchange(say)
            app.client.portal.run(app.client.connection.transport.delete(QUEUE))
        finally:
            app.close()
    seconds = _monotonic() - begun
    if arguments.json:
        print_json({"ok": not wrong, "wrong": wrong, "seconds": round(seconds, 2)})
    say.line("\n".join(wrong) if wrong else f"every result is right; {seconds:.1f} s in all\n\n{NEXT}")
    return exits.FAILED if wrong else exits.OK


class Told:
    """What the demo says, and a bar on a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        """Say nothing at all if ``quiet``."""
        self._quiet = quiet
        self._bar = not quiet and sys.stdout.isatty()

    def line(self, text: str) -> None:
        """Print a line."""
        if not self._quiet:
            print(text, flush=True)

    def progress(self, done: int, of: int) -> None:
        """Redraw the bar; end its line once all is done."""
        if self._bar:
            full = BAR * done // of
            print(f"\r  [{'#' * full}{'.' * (BAR - full)}] {done}/{of}", end="\n" if done == of else "", flush=True)


def _exchange(say: Told) -> list[str]:
    """Send the tasks and compare what comes back; return what was wrong."""
    begun = _monotonic()
    expected: list[tuple[str, AsyncResult[Any], Any]] = []
    with app.batch():
        compute, wait = factors.options(queue=QUEUE), greet.options(queue=QUEUE)
        expected += [(f"factors({n})", compute.delay(n), factors(n)) for n in NUMBERS]
        expected += [(f"greet({name!r})", wait.delay(name, PAUSE), f"hello {name}") for name in NAMES]
    failing = divide.options(queue=QUEUE).delay(1, 0)
    say.line(
        f"{len(NUMBERS)} def tasks that compute, {len(NAMES)} async def tasks that wait {PAUSE} s each, "
        f"and 1 that fails: sent in {_monotonic() - begun:.2f} s"
    )
    begun, wrong = _monotonic(), []
    for done, (call, result, right) in enumerate(expected, 1):
        value = _value(result)
        if value != right:
            wrong.append(f"{call} gave {value!r}, not {right!r}")
        say.progress(done, len(expected))
    say.line(f"  {len(expected)} results in {_monotonic() - begun:.2f} s")
    for call, result, _ in (expected[12], expected[-1]):
        say.line(f"  {call} = {_value(result)!r}")
    error = _value(failing)
    say.line(f"  divide(1, 0) raised {error!r} in the worker, and would here")
    if not isinstance(error, ZeroDivisionError):
        wrong.append(f"divide(1, 0) gave {error!r}, not a ZeroDivisionError")
    return wrong


def _value(result: AsyncResult[Any]) -> Any:
    try:
        return result.get(RESULT_SECONDS, propagate=False)
    except ResultTimeout as error:
        return error


@contextlib.contextmanager
def _worker(url: str, store: str, folder: str) -> Iterator[None]:
    """Run a worker process in ``folder`` while the block lasts."""
    addresses = {"CELERIAC_BROKER": url, "CELERIAC_BACKEND": store}  # not for everyone to read
    log = Path(folder) / "worker.log"
    command = [sys.executable, "-m", "celeriac", "worker", "-A", "celeriac.cli.demo_app", "-Q", QUEUE, "-c", "2"]
    with log.open("wb") as errors, _process(command, folder, errors, addresses) as process:
        news: queue.SimpleQueue[bool] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(process, news), daemon=True)
        reader.start()
        try:
            if not _is_ready(news):
                raise WorkerFailed(f"the worker did not start:\n{log.read_text(errors='replace')}")
            yield
        finally:
            _end(process)
            reader.join()


def _process(command: Sequence[str], folder: str, errors: Any, addresses: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own command, in our own folder
        command,
        cwd=folder,
        env={**os.environ, **addresses},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


def _read(process: subprocess.Popen[str], news: queue.SimpleQueue[bool]) -> None:
    """Read what the worker prints, so that it never waits for us; tell that it is ready, and that it is over."""
    for line in process.stdout or ():
        if line.rstrip().endswith("ready."):
            news.put(True)
    news.put(False)


def _is_ready(news: queue.SimpleQueue[bool]) -> bool:
    try:
        return news.get(timeout=START_SECONDS)
    except queue.Empty:
        return False


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
