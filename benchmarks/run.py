"""One measurement: a warm worker is frozen while its queue is filled, then timed until the last task has run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import processes, ticks

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One system with one configuration; the fields after ``worker`` say what its row must tell."""

    name: str
    python: Path
    module: str
    worker: tuple[str, ...]
    url: str
    queue: str
    results: bool
    confirms: str
    enqueue: str = "one"
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one run measured; rates are tasks a second, CPU is microseconds a task."""

    variant: str
    tasks: int
    ran: int
    enqueue_rate: float
    drain_rate: float
    worker_cpu: float
    broker_cpu: float
    start: float

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def measure(variant: Variant, tasks: int, broker_process: str) -> Row:
    """Measure one variant once; the broker is every process of that name."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "ticks"
        ticks.create(file)
        environment = {
            **os.environ,
            **dict(variant.environment),
            "PYTHONPATH": str(ROOT),
            "BENCH_URL": variant.url,
            "BENCH_RESULTS": "1" if variant.results else "0",
            ticks.VARIABLE: str(file),
        }
        with (Path(folder) / "worker.log").open("w+") as log:
            began = time.time()
            worker = subprocess.Popen(
                [str(variant.python), "-m", *variant.worker],
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                return _drained(variant, tasks, worker, environment, file, began, broker_process)
            except TimeoutError:
                log.seek(0)
                sys.stderr.write(log.read()[-4000:])
                raise
            finally:
                members = processes.tree(worker.pid)
                worker.terminate()
                try:
                    worker.wait(10)
                except subprocess.TimeoutExpired:
                    processes.send(members, signal.SIGKILL)


def _drained(
    variant: Variant,
    tasks: int,
    worker: subprocess.Popen[bytes],
    environment: dict[str, str],
    file: Path,
    began: float,
    broker_process: str,
) -> Row:
    _fill(variant, 20, environment)
    _until(file, 21, worker)
    start = ticks.read(file)[2] - began
    warm = 21
    while ticks.read(file)[1] < 2 and warm < 2000:  # until both executors have run one  # noqa: PLR2004
        _fill(variant, 20, environment)
        warm += 21
        _until(file, warm, worker)
    members = processes.tree(worker.pid)
    processes.send(members, signal.SIGSTOP)
    try:
        enqueue = _fill(variant, tasks, environment)
    finally:
        before = processes.cpu_seconds(members)
        broker = processes.named(broker_process)
        broker_before = processes.cpu_seconds(broker)
        released = time.time()
        processes.send(members, signal.SIGCONT)
    goal = warm + tasks + 1
    _until(file, goal, worker)
    ran, _, last = ticks.read(file)
    return Row(
        variant=variant.name,
        tasks=tasks,
        ran=ran - warm,
        enqueue_rate=tasks / enqueue,
        drain_rate=tasks / (last - released),
        worker_cpu=(processes.cpu_seconds(members) - before) / tasks * 1e6,
        broker_cpu=(processes.cpu_seconds(broker) - broker_before) / tasks * 1e6,
        start=start,
    )


def _fill(variant: Variant, n: int, environment: dict[str, str]) -> float:
    """Send ``n`` tasks, and one before them; return the seconds that the ``n`` took."""
    command = [str(variant.python), "-m", variant.module, variant.enqueue, str(n)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return float(done.stdout.split()[-1])


def _until(file: Path, goal: int, worker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while ticks.read(file)[0] < goal:
        if worker.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"{ticks.read(file)[0]} of {goal} tasks ran; the worker says:")
        time.sleep(0.01)
