"""Tasks that take long, wait long, or fall due together: each runs once, none stands in another's way."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from witness import Witness, until
from worker_process import WorkerProcess

from celeriac import App
from celeriac.clock import SystemClock
from celeriac.message import Message
from celeriac.plugins import Plugins
from celeriac.topology import Queue, Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

LEASE = 2.0
PAGE = 4096
WEEK = timedelta(days=7)
soak = [pytest.mark.soak, pytest.mark.timeout(1200)]


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "ran"
    path.touch()
    return path


@pytest.fixture(params=["sqlite", "amqp", "redis"])
def broker(request, tmp_path) -> str:
    """A broker that takes back what is held for too long: after its lease, or RabbitMQ's consumer_timeout."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/celeriac.db?lease={LEASE}"
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_url')}&lease={LEASE}"
    node = request.getfixturevalue("amqp_node")  # consumer_timeout is 4 s there
    with Witness(node.url) as witness:
        witness.delete("celeriac", "celeriac.dead")
    return f"{node.url}?hold_limit=1"


@pytest.fixture
def app(broker) -> Iterator[App]:
    app = App("time", broker=broker, ignore_result=True)
    yield app
    app.close()


def ran(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()]


@pytest.mark.parametrize("seconds", [6.5, pytest.param(60.0, marks=soak)])
def test_a_task_far_longer_than_the_hold_is_delivered_once(app, broker, path, seconds) -> None:
    """It never lets go of the GIL; an idle worker stands by to take it, should it come back."""
    with WorkerProcess("storm", broker, "-c", "1") as one, WorkerProcess("storm", broker, "-c", "1") as other:
        one.ready()
        other.ready()
        app.send_task("storm.hold", (str(path), 1, seconds))
        until(lambda: -1 in ran(path), seconds + 10)
        assert ran(path) == [1, -1]
        with Witness(broker) as witness:
            until(lambda: witness.ready() == 0)
        assert one.terminate() == other.terminate() == 0
    assert ran(path) == [1, -1]


def test_a_busy_slot_holds_back_no_other(app, broker, path) -> None:
    """Neither of the same worker nor of another."""
    with WorkerProcess("storm", broker, "-c", "2") as busy:
        busy.ready()
        app.send_task("storm.hold", (str(path), 1, 60.0))
        until(lambda: ran(path) == [1])
        for number in range(2, 6):
            app.send_task("storm.note", (str(path), number))
            assert until(lambda n=number: n in ran(path)) < 1.0
        app.send_task("storm.hold", (str(path), 6, 60.0))
        until(lambda: 6 in ran(path))
        app.send_task("storm.note", (str(path), 7))  # lies in a worker without a free slot, or in the queue
        with WorkerProcess("storm", broker, "-c", "1") as idle:
            idle.ready()
            assert until(lambda: 7 in ran(path)) < 1.0
            for number in range(8, 12):
                app.send_task("storm.note", (str(path), number))
                assert until(lambda n=number: n in ran(path)) < 1.0
    assert max(Counter(ran(path)).values()) == 1


def test_coroutines_that_take_long_leave_no_slot_idle(app, broker, path) -> None:
    """However many they are, and though others come between them."""
    with WorkerProcess("storm", broker, "-c", "1") as worker:
        worker.ready()
        for number in range(20):
            app.send_task("storm.anap", (str(path), number, 60.0))
            app.send_task("storm.note", (str(path), 100 + number, 0.06))  # so that holds are moved meanwhile
        until(lambda: {*ran(path)} >= {*range(20), *range(100, 120)}, 20)
        for number in range(200, 205):
            app.send_task("storm.note", (str(path), number))
            assert until(lambda n=number: n in ran(path)) < 1.0


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=soak)])
def test_a_week_s_delay_costs_a_worker_nothing(app, broker, path, count) -> None:
    with WorkerProcess("storm", broker, "-c", "1") as worker:
        worker.ready()
        app.send_task("storm.note", (str(path), -1))
        until(lambda: ran(path) == [-1])
        before = resident(worker)
        eta = datetime.now(UTC) + WEEK
        for start in range(0, count, 1_000):
            with app.batch():
                for number in range(start, start + 1_000):
                    app.send_task("storm.note", (str(path), number), eta=eta)
        app.send_task("storm.note", (str(path), -2))
        until(lambda: ran(path) == [-1, -2])
        grown = resident(worker) - before
        print(f"{count} tasks delayed by 7 days: the worker grew by {grown // 1024} KiB")
        assert grown < 4 * 1024 * 1024


def resident(worker: WorkerProcess) -> int:
    """Return the bytes of memory of the worker and all its family."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE for pid in worker.family())


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_delays_survive_a_restart_of_the_broker(amqp_node, path) -> None:
    app = App("time", broker=amqp_node.url, ignore_result=True, publish_timeout=30)
    due = datetime.now(UTC) + timedelta(seconds=120)
    for start in range(0, 100_000, 1_000):
        with app.batch():
            for number in range(start, start + 1_000):
                app.send_task("storm.note", (str(path), number), eta=due)
    assert datetime.now(UTC) < due, "too slow a machine for this test"
    amqp_node.kill()
    amqp_node.start()
    with WorkerProcess("storm", amqp_node.url, "-c", "2", "-l", "WARNING") as worker:
        worker.ready()
        until(lambda: len(set(ran(path))) == 100_000, 600)
    app.close()
    print(f"100000 delayed through kill -9 of the broker: 0 lost, {len(ran(path)) - 100_000} run twice")


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=soak)])
@pytest.mark.parametrize("kind", ["memory", "sqlite", "amqp", "redis"])
def test_how_fast_delayed_messages_fall_due(request, tmp_path, kind, count) -> None:
    """All at one moment; none early, and all of them in the time that the measured rate allows."""
    url = {"memory": f"memory://{tmp_path.name}", "sqlite": f"sqlite:///{tmp_path}/celeriac.db"}.get(kind)
    rate, first = asyncio.run(promoted(url or request.getfixturevalue(f"{kind}_url"), count))
    print(f"{kind}: {count} due at one moment, the first ready after {first:.2f} s, then {rate:.0f} a second")
    assert 0.0 <= first < 2.0
    assert rate > 200


async def promoted(url: str, count: int) -> tuple[float, float]:
    """Return how many a second became ready, and how late the first was."""
    transport = Plugins().transport(url)([url], clock=SystemClock(), on_lost=lambda _error: None)
    await transport.open()
    try:
        await transport.declare(Topology.of([Queue("celeriac")]))
        due = datetime.now(UTC) + timedelta(seconds=1.5 + count / 2_000)
        receipts = []
        for start in range(0, count, 500):
            messages = [Message(id=str(n), routing_key="celeriac", not_before=due) for n in range(start, start + 500)]
            receipts += await transport.publish(messages)
        assert all(receipt.ok for receipt in receipts)
        assert datetime.now(UTC) < due, "too slow a machine for this test"
        first = None
        async with transport.consume(["celeriac"], prefetch=count) as consumer:
            got = 0
            while got < count:
                deliveries = await consumer.receive(1_000, 30)
                assert deliveries
                got += len(deliveries)
                late = (datetime.now(UTC) - due).total_seconds()
                first = late if first is None else first
        return count / max(late - first, 0.001), first
    finally:
        await transport.delete("celeriac")
        await transport.close()
