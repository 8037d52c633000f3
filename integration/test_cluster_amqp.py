"""A cluster of three RabbitMQ nodes in containers, of which one after the other fails while tasks are sent and run.

Each fault meets the node that the client is connected to. Nothing that was confirmed is lost; client and workers go on
by their list of URLs. A call that raises is made again by its caller, who cannot know whether the first has arrived.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import pytest
from conftest import containers
from contained import Cluster, Node
from witness import until
from worker_process import WorkerProcess

from celeriac import App
from celeriac.errors import ConnectionLost, PublishError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac import AsyncResult

OPTIONS = "?heartbeat=2"
TASKS = 10_000
SENDERS = 8
DELAYED_EVERY = 20  # one of so many, by 1, 2 or 3 s
PATIENCE = 60


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    containers()
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


class Traffic:
    """A client that sends numbers to a queue, two workers that note each, and what is known of all."""

    def __init__(self, cluster: Cluster, path: Path) -> None:
        self._cluster = cluster
        self._path = path
        self.results: dict[int, AsyncResult] = {}
        self.raised: Counter[str] = Counter()
        self._ending = threading.Event()
        self.longest = 0.0

    def __enter__(self) -> Self:
        self._path.touch()
        urls = self._cluster.urls(OPTIONS)
        with ExitStack() as stack:
            self._app = App("client", broker=urls)
            stack.callback(self._app.close)
            self.workers = [
                stack.enter_context(WorkerProcess("sums", ";".join(urls), "-c", "2", "-n", name))
                for name in ("left", "right")
            ]
            for worker in self.workers:
                worker.ready()
            self._pool = ThreadPoolExecutor(SENDERS)
            stack.callback(self._pool.shutdown, cancel_futures=True)
            stack.callback(self._ending.set)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def node(self) -> Node:
        """Return the node that the client is connected to."""
        connection = self._app.client.connection
        self._app.client.portal.run(connection.ready(), PATIENCE)
        return self._cluster.at(connection.transport.control().address.port)

    def send(self, numbers: range) -> Iterator[None]:
        """Begin to send; what is returned yields once for each that is confirmed."""
        return self._pool.map(self._send, numbers)

    def _send(self, number: int) -> None:
        countdown = 1 + number % 3 if number % DELAYED_EVERY == 0 else None
        while not self._ending.is_set():
            begun = time.monotonic()
            try:
                result = self._app.send_task("sums.note", (str(self._path), number), countdown=countdown)
            except (ConnectionLost, PublishError) as error:
                self.raised[type(error).__name__] += 1
                self._ending.wait(0.1)
            else:
                self.results[number] = result
                return
            finally:
                self.longest = max(self.longest, time.monotonic() - begun)

    def ran(self) -> Counter[int]:
        return Counter(int(line) for line in self._path.read_text().split())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("rounds", [1, pytest.param(5, marks=pytest.mark.soak)])
def test_nothing_is_lost_while_nodes_are_killed_cut_off_and_frozen(cluster: Cluster, tmp_path: Path, rounds) -> None:
    faults = (killed, cut_off, frozen) * rounds
    share = TASKS // 4
    with Traffic(cluster, tmp_path / "ran") as traffic:
        rest(traffic.send(range(share)))
        for turn, fault in enumerate(faults, 1):
            fault(traffic, range(turn * share, (turn + 1) * share))
        account(traffic, share * (1 + len(faults)))


def killed(traffic: Traffic, numbers: range) -> None:
    node = traffic.node()
    sending = traffic.send(numbers)
    node.kill()
    begun = time.monotonic()
    half(sending, numbers)
    told(f"{node.name} killed", begun, traffic)
    node.start()
    node.ready()
    rest(sending)


def cut_off(traffic: Traffic, numbers: range) -> None:
    node = traffic.node()
    sending = traffic.send(numbers)
    node.cut_off()
    begun = time.monotonic()
    half(sending, numbers)
    told(f"{node.name} cut off", begun, traffic)
    node.notice()
    node.join()
    node.ready()
    rest(sending)


def frozen(traffic: Traffic, numbers: range) -> None:
    node = traffic.node()
    sending = traffic.send(numbers)
    node.pause()
    begun = time.monotonic()
    half(sending, numbers)
    told(f"{node.name} frozen", begun, traffic)
    node.go_on()
    rest(sending)
    node.control("await_online_nodes", "3")


def half(sending: Iterator[None], numbers: range) -> None:
    for _ in range(len(numbers) // 2):
        next(sending)


def rest(sending: Iterator[None]) -> None:
    for _ in sending:
        pass


def told(what: str, begun: float, traffic: Traffic) -> None:
    seconds = time.monotonic() - begun
    print(f"{what}: half of the next were confirmed after {seconds:.1f} s, {traffic.raised.total()} raised so far")


def account(traffic: Traffic, sent: int) -> None:
    """Wait until all is done, and say what became of it."""
    until(lambda: len(traffic.ran()) >= sent, PATIENCE, lambda: missing(traffic, sent))
    runs = traffic.ran()
    values = [result.get(timeout=PATIENCE) for result in traffic.results.values()]
    lost = sent - len(runs)
    twice = sum(count > 1 for count in runs.values())
    print(
        f"{sent} sent, {len(runs)} done, {lost} lost, {twice} run twice; {len(values)} results; "
        f"{traffic.raised.total()} calls raised and were made again, none took longer than {traffic.longest:.1f} s"
    )
    assert lost == 0
    assert set(values) == set(range(sent))
    assert all(worker.process.poll() is None for worker in traffic.workers)


def missing(traffic: Traffic, sent: int) -> str:
    left = sorted(set(range(sent)) - set(traffic.ran()))
    lines = [line for worker in traffic.workers for line in worker.lines if "INFO" not in line]
    held = traffic.node().control(
        "list_queues", "name", "messages_ready", "messages_unacknowledged", "messages_dlx", "leader"
    )
    return "\n".join([f"{len(left)} of {sent} did not run, {left[:20]}", held, *lines[-60:]])
