"""One run's surroundings: its brokers, and the stage of one measurement: workers, senders, and their tasks' ticks."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import processes, ticks
from benchmarks.environments import ROOT, python_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.model import Contender
    from benchmarks.servers import RabbitMQ, Redis

PATIENCE = 120.0
QUICK_PATIENCE = 15.0
SLOWEST = 200  # tasks a second, that sending is waited for
STALL = 6.0  # seconds without a task, after which what is missing counts as lost
NEARLY_ALL = 0.98
LOG_SHOWN = 3000

_runs = itertools.count(1)


class BenchError(Exception):
    """A measurement that could not be made; says why, with what the worker said."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What sending took, in seconds, and each round trip, where it made any."""

    seconds: float
    cpu: float
    latencies: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a run has.

    Attributes:
        rabbitmq: its virtual host; ``None`` where no contender needs one.
        redis: its server, likewise.
        spins: how often `bodies.spin` goes round in 5 ms.
        quick: figures are not wanted, only to see that everything works.
    """

    rabbitmq: RabbitMQ | None
    redis: Redis | None
    spins: int
    quick: bool = False

    @contextlib.contextmanager
    def stage(self, contender: Contender) -> Iterator[Stage]:
        """Give one measurement a folder; end what it started, and leave nothing of it in the brokers."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            stage = Stage(self, contender, Path(folder))
            try:
                yield stage
            except (subprocess.SubprocessError, OSError) as error:
                said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
                raise BenchError(f"{error} {(said or '')[-LOG_SHOWN:]} {stage.log()}") from error
            finally:
                stage.close()
                if self.redis is not None:
                    self.redis.clean()
                if self.rabbitmq is not None and contender.queues:
                    self.rabbitmq.clean(name.format(stage.run) for name in contender.queues)

    def broker_cpu(self, contender: Contender) -> float:
        """Return the processor seconds that a contender's broker has used so far."""
        server = {"rabbitmq": self.rabbitmq, "redis": self.redis}.get(contender.broker)
        return processes.cpu_seconds(server.processes) if server is not None else 0.0


class Stage:
    """One contender, being measured once."""

    def __init__(self, bench: Bench, contender: Contender, folder: Path) -> None:
        """Start nothing."""
        self.bench = bench
        self.contender = contender
        self.folder = folder
        self.run = f"_{next(_runs)}"
        self.expected = 0
        self._patience = QUICK_PATIENCE if bench.quick else PATIENCE
        self._file = folder / "ticks"
        self._workers: list[subprocess.Popen[bytes]] = []
        ticks.create(self._file)

    def start(self) -> float:
        """Start the workers; return the moment, by the monotonic clock."""
        began = time.monotonic()
        for _ in range(self.contender.copies):
            with (self.folder / "worker.log").open("ab") as log:
                worker = subprocess.Popen(
                    self._command(*self.contender.worker),
                    env=self._environment(),
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self._workers.append(worker)
        return began

    def send(self, kind: str, n: int, way: str | None = None) -> Sent:
        """Send ``n`` tasks, after one that connects."""
        command = self._command("-m", f"benchmarks.systems.{self.contender.system}", way or self.contender.way, kind)
        done = subprocess.run(
            [*command, str(n)],
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=self._patience + n / SLOWEST,
        )
        self.expected += n + 1
        told = json.loads(done.stdout.splitlines()[-1])
        return Sent(told["seconds"], told["cpu"], told["latencies"] or [])

    def ran(self) -> ticks.Ticks:
        """Return what has run so far."""
        return ticks.read(self._file)

    def wait(self) -> ticks.Ticks:
        """Return once all that was sent has run, or nearly all and nothing more comes: then ``expected`` is less."""
        begin = seen_at = time.monotonic()
        seen = -1
        while True:
            now, ran = time.monotonic(), self.ran()
            if ran.tasks >= self.expected:
                return ran
            if ran.tasks != seen:
                seen, seen_at = ran.tasks, now
            if now - seen_at > STALL and ran.tasks >= NEARLY_ALL * self.expected:
                self.expected = ran.tasks
                return ran
            if now - begin > self._patience or any(worker.poll() is not None for worker in self._workers):
                raise BenchError(f"{ran.tasks} of {self.expected} tasks ran; the worker says: {self.log()}")
            time.sleep(0.005)

    def warm(self) -> None:
        """Start the workers and return once each of their processes has run a task."""
        self.start()
        self.send("noop", 20, "one")
        self.wait()
        for _ in range(50):
            if len(self.ran().processes) >= self.contender.processes:
                break
            self.send("noop", 50, "one")
            self.wait()

    def members(self) -> list[int]:
        """Return the processes of the workers."""
        return processes.tree(worker.pid for worker in self._workers)

    def log(self) -> str:
        """Return the end of what the workers said."""
        file = self.folder / "worker.log"
        return file.read_text(errors="replace")[-LOG_SHOWN:] if file.exists() else ""

    def close(self) -> None:
        """End the workers."""
        members = self.members()
        processes.send(members, signal.SIGCONT)
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + 10
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.1, deadline - time.monotonic()))
        processes.send(members, signal.SIGKILL)
        for worker in self._workers:
            worker.wait()

    def _command(self, first: str, *rest: str) -> list[str]:
        python = python_of(self.contender.peer)
        return [str(python), first, *rest] if first.startswith("-") else [str(python.parent / first), *rest]

    def _environment(self) -> dict[str, str]:
        results = self.contender.results_broker
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("CELERIAC_")},
            **dict(self.contender.environment),
            "PYTHONPATH": str(ROOT),
            "BENCH_RUN": self.run,
            "BENCH_URL": self._url(self.contender.broker) + self.contender.query,
            "BENCH_RESULTS_URL": "rpc://" if results == "rpc" else self._url(results),
            "BENCH_SETTINGS": json.dumps(dict(self.contender.settings)),
            "BENCH_SPINS": str(self.bench.spins),
            ticks.VARIABLE: str(self._file),
        }

    def _url(self, broker: str) -> str:
        if broker == "sqlite":
            return f"sqlite:///{self.folder / 'bench.db'}"
        server = {"rabbitmq": self.bench.rabbitmq, "redis": self.bench.redis}.get(broker)
        return "" if server is None else server.url
