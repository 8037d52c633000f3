"""A worker and a client behind a proxy that spoils the link to their broker: both are well again in bounded time.

The bound: three heartbeats until a silent peer is given up, and the longest pause between two attempts to reopen.
"""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from witness import until

from celeriac import App
from celeriac.connection import LONGEST_PAUSE
from celeriac.errors import ConnectionLost, PublishUnconfirmed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from worker_process import WorkerProcess

    from celeriac.testing import FaultProxy

HEARTBEAT = 2
BOUND = 3 * HEARTBEAT + LONGEST_PAUSE
TIMEOUT = 2.0  # publish_timeout
SLACK = 0.5  # of a busy machine
NUMBERS = itertools.count()


class Scene:
    """A node, a proxy before it, a worker process and a client behind the proxy, and a file that tells what was run.

    Attributes:
        node: the broker, with its ``url``.
    """

    def __init__(self, node: Any, proxy: FaultProxy, worker: WorkerProcess, app: App, path: Path) -> None:
        self.node, self.proxy, self.worker, self.app, self.path = node, proxy, worker, app, path

    def ran(self) -> set[str]:
        return set(self.path.read_text().split())

    def send(self, app: App, **options: Any) -> str:
        number = next(NUMBERS)
        app.send_task("sums.note", (str(self.path), number), **options)
        return str(number)

    def try_to_send(self) -> str | None:
        """Send by the client behind the proxy: it returns or raises in time."""
        begun = time.monotonic()
        try:
            return self.send(self.app)
        except (ConnectionLost, PublishUnconfirmed):
            return None
        finally:
            assert time.monotonic() - begun < TIMEOUT + SLACK

    def is_well(self, since: float, fault: str) -> None:
        """See a new task start in time, sent by someone who saw nothing of it; then one of the client's own."""
        with client(self.node.url) as other:
            number = self.send(other)
        until(lambda: number in self.ran(), since + BOUND - time.monotonic(), lambda: "\n".join(self.worker.lines))
        started = time.monotonic() - since
        sent: list[str | None] = []
        until(lambda: sent.append(self.try_to_send()) or sent[-1], since + BOUND - time.monotonic())
        until(lambda: sent[-1] in self.ran(), 5)
        assert self.worker.process.poll() is None
        print(f"{fault}: a task started after {started:.1f} s, of {BOUND:.0f}")


@contextmanager
def client(url: str) -> Iterator[App]:
    app = App("client", broker=url, publish_timeout=TIMEOUT, ignore_result=True)
    try:
        yield app
    finally:
        app.close()
