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
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from celeriac import AsyncResult

TASKS = 10_000
SENDERS = 8
DELAYED_EVERY = 20  # one of so many, by 1, 2 or 3 s
PATIENCE = 60
BOUND = 120  # seconds for all that is sent around one fault


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    containers()
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


class Traffic:
    """A client that sends numbers to a queue, two workers that note each, and what is known of all."""

    def __init__(self, cluster: Cluster, path: Path, options: str) -> None:
        self.cluster = cluster
        self._options = options
        self._path = path
        self.results: dict[int, AsyncResult] = {}
        self.raised: Counter[str] = Counter()
        self._ending = threading.Event()
        self.longest = 0.0

    def __enter__(self) -> Self:
        self._path.touch()
        urls = self.cluster.urls(self._options)
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
        return self.cluster.at(connection.transport.control().address.port)

    def others(self, node: Node) -> list[Node]:
        """Return all nodes but ``node``."""
        return [other for other in self.cluster.nodes if other is not node]

    def send(self, numbers: range) -> Iterator[None]:
        """Begin to send; what is returned yields once for each that is confirmed, and raises `TimeoutError`."""
        return self._pool.map(self._send, numbers, timeout=BOUND)

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


@pytest.mark.timeout(240)
def test_nothing_is_lost_while_nodes_are_killed_and_cut_off(cluster: Cluster, tmp_path: Path) -> None:
    go_through(cluster, tmp_path, killed, cut_off)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_again_and_again(cluster: Cluster, tmp_path: Path) -> None:
    go_through(cluster, tmp_path, *(killed, cut_off) * 5)


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_a_frozen_node(cluster: Cluster, tmp_path: Path) -> None:
    """What RabbitMQ 3.10 does not always survive, as docs/guarantees.md says."""
    go_through(cluster, tmp_path, frozen, options="?heartbeat=2")


def go_through(cluster: Cluster, folder: Path, *faults: Callable[[Traffic, range], None], options: str = "") -> None:
    """Send the tasks, a share of them around each fault and the rest before, and account for all."""
    share = TASKS // (len(faults) + 1)
    before = TASKS - share * len(faults)
    with Traffic(cluster, folder / "ran", options) as traffic:
        rest(traffic.send(range(before)))
        for turn, fault in enumerate(faults):
            fault(traffic, range(before + turn * share, before + (turn + 1) * share))
        account(traffic, TASKS)


def killed(traffic: Traffic, numbers: range) -> None:
    node = traffic.node()
    sending = traffic.send(numbers)
    node.kill()
    begun = time.monotonic()
    half(sending, numbers)
    told(f"{node.name} killed", begun, traffic)
    node.start()
    node.started()
    rest(sending)
    traffic.cluster.settle()


def cut_off(traffic: Traffic, numbers: range) -> None:
    node = traffic.node()
    sending = traffic.send(numbers)
    node.cut_off()
    begun = time.monotonic()
    half(sending, numbers)
    told(f"{node.name} cut off", begun, traffic)
    node.notice()
    node.join()
    node.started()
    rest(sending)
    traffic.cluster.settle()


def frozen(traffic: Traffic, numbers: range) -> None:
    """Until the others have given it up; as long as it is frozen RabbitMQ 3.10 may fail to attach a consumer."""
    node = traffic.node()
    since = time.time()
    sending = traffic.send(numbers)
    node.pause()
    begun = time.monotonic()
    given_up = f"node rabbit@{node.name} down"
    until(lambda: all(given_up in other.said(since) for other in traffic.others(node)), PATIENCE)
    node.go_on()
    half(sending, numbers)
    told(f"{node.name} frozen until the others gave it up", begun, traffic)
    node.started()
    rest(sending)
    traffic.cluster.settle()


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
    end = time.monotonic() + PATIENCE
    values = [result.get(timeout=max(0.0, end - time.monotonic())) for result in traffic.results.values()]
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
