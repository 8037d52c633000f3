"""Workers killed, and restarted, at random under load: nothing that was sent is lost, and duplicates are counted."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

import pytest
from witness import Witness, until
from worker_process import WorkerProcess

from celeriac import App

if TYPE_CHECKING:
    from pathlib import Path

LEASE = 2
WORKERS = 2


@pytest.fixture(params=["sqlite", "amqp", "redis"])
def broker(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/celeriac.db?lease={LEASE}&synchronous=normal"
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_url')}&lease={LEASE}"
    return request.getfixturevalue("amqp_url")


class Load:
    """A client that sends from a thread of its own, ``burst`` at a time, and knows which were confirmed.

    Of five tasks four are `def`, and take ``seconds``. By default it sends some hundred a second.
    """

    def __init__(self, broker: str, path: Path, *, burst: int = 10, seconds: float = 0.005) -> None:
        self._app = App("load", broker=broker, ignore_result=True)
        self._burst = burst
        self._seconds = seconds
        self.path = path
        self.path.touch()
        self.sent = 0
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        self._app.close()

    def stop(self) -> None:
        self._enough.set()
        self._thread.join()

    def ran(self) -> Counter[int]:
        return Counter(map(int, self.path.read_text().split()))

    def _send(self) -> None:
        while not self._enough.wait(0.05):
            with self._app.batch():
                for number in range(self.sent, self.sent + self._burst):
                    name = "storm.anote" if number % 5 == 0 else "storm.note"
                    args = (str(self.path), number) if number % 5 == 0 else (str(self.path), number, self._seconds)
                    self._app.send_task(name, args)
            self.sent += self._burst


class Crew:
    """Some workers, of which any may be replaced."""

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._stack = ExitStack()
        self.workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        self.workers = [self._start() for _ in range(WORKERS)]
        for worker in self.workers:
            worker.ready()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def replace(self, index: int) -> WorkerProcess:
        self.workers[index] = self._start()
        return self.workers[index]

    def _start(self) -> WorkerProcess:
        return self._stack.enter_context(WorkerProcess("storm", self._broker, "-c", "2", "-l", "WARNING"))


def nothing_is_lost(load: Load, broker: str) -> tuple[int, int]:
    """Wait until all that was sent is done, or set aside; return how much was run twice, and was set aside."""
    load.stop()
    wanted = set(range(load.sent))
    with Witness(broker) as witness:
        until(lambda: witness.ready() == 0, 60 + load.sent / 1000)
        dead = witness.ready("celeriac.dead") if witness.exists("celeriac.dead") else 0
        until(
            lambda: len(wanted - set(load.ran())) <= dead,
            20 + LEASE,
            lambda: f"lost: {sorted(wanted - set(load.ran()))[:20]}, dead letters: {dead}",
        )
    return sum(count - 1 for count in load.ran().values()), dead


@pytest.mark.parametrize("kills", [12, pytest.param(300, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_kill_9_at_random(broker, tmp_path, kills) -> None:
    generator = random.Random(kills)
    whole = 0
    with Load(broker, tmp_path / "ran") as load, Crew(broker) as crew:
        for _ in range(kills):
            time.sleep(generator.uniform(0.05, 0.4))  # the moment of the next murder, not a wait for something
            index = generator.randrange(WORKERS)
            family = crew.workers[index].family()
            victim = family[0] if generator.random() < 0.3 else generator.choice(family)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            if victim == family[0]:
                whole += 1
                crew.workers[index].process.wait()
            if crew.workers[index].process.poll() is not None:
                crew.replace(index)
        for index, worker in enumerate(crew.workers):
            if worker.process.poll() is not None:
                crew.replace(index)
        twice, dead = nothing_is_lost(load, broker)
        print(f"{kills} kills, {whole} of whole workers: {load.sent} sent, 0 lost, {twice} run twice, {dead} set aside")
    assert dead <= 1 + kills // 100, "what is killed is accused of it, but hardly three times over"


@pytest.mark.parametrize("restarts", [4, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
def test_rolling_restarts(broker, tmp_path, restarts) -> None:
    """As a deploy does it: TERM, wait for the end, start the next."""
    with Load(broker, tmp_path / "ran") as load, Crew(broker) as crew:
        for number in range(restarts):
            index = number % WORKERS
            assert crew.workers[index].terminate() == 0, "\n".join(crew.workers[index].lines)
            crew.replace(index).ready()
        twice, dead = nothing_is_lost(load, broker)
    print(f"{restarts} restarts: {load.sent} sent, 0 lost, {twice} run twice")
    assert (twice, dead) == (0, 0)
