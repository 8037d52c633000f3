"""Many real processes on one SQLite file, some of them killed: nothing is lost, nothing doubled that is atomic.

Run as a program, this file is one of those processes.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from celeriac.clock import SystemClock
from celeriac.message import ACK, Message, Move, Settlement, SettleReceipt
from celeriac.results import ResultRecord
from celeriac.states import SUCCESS
from celeriac.topology import Queue, Topology
from celeriac_sqlite import database
from celeriac_sqlite.store import SqliteResultStore
from celeriac_sqlite.transport import SqliteTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

MESSAGES = 5000
QUEUES = Topology.of([Queue("in"), Queue("out")])


def test_kill_9_at_random_loses_nothing(tmp_path: Path) -> None:
    """Four consumers ack what they have noted; one after the other is killed and replaced."""
    url = filled(tmp_path)
    until_empty(tmp_path, lambda index: start("ack", url, tmp_path / f"seen-{index}"))
    seen = [line for file in tmp_path.glob("seen-*") for line in file.read_text().split()]
    assert set(seen) == {str(number) for number in range(MESSAGES)}
    assert contents(tmp_path / "q.db") == {"in": [], "out": []}


def test_kill_9_at_random_moves_each_message_once(tmp_path: Path) -> None:
    """As before, but each message moves to another queue: it gets there exactly once."""
    url = filled(tmp_path)
    until_empty(tmp_path, lambda _: start("move", url))
    found = contents(tmp_path / "q.db")
    assert sorted(found["out"], key=int) == [str(number) for number in range(MESSAGES)]
    assert found["in"] == []


def test_kill_9_at_every_statement(tmp_path: Path) -> None:
    """One process is killed before its first statement, the next before its second, and so on to the last."""
    done = subprocess.run(
        [sys.executable, __file__, "every-statement", str(tmp_path)], check=False, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) > 40  # so many statements were there to be killed at


def test_eight_processes_see_no_lock(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each publishes, claims, stores and acks as fast as it can: no call fails, and all that came in went out."""
    url = f"sqlite:///{tmp_path}/q.db?synchronous=normal"
    processes = [start("hammer", url) for _ in range(8)]
    codes = [process.wait(timeout=60) for process in processes]
    assert codes == [0] * 8, capfd.readouterr().err
    assert contents(tmp_path / "q.db") == {"in": [], "out": []}
    assert not (tmp_path / "q.db.d").exists()
    assert [file.name for file in tmp_path.glob("q.db*")] == ["q.db"]


def filled(folder: Path) -> str:
    url = f"sqlite:///{folder}/q.db?lease=1&synchronous=normal"
    asyncio.run(fill(url))
    return url


def until_empty(folder: Path, start_one: Callable[[int], subprocess.Popen[bytes]]) -> None:
    """Kill a random one of four processes every now and then, until the queue ``in`` is empty."""
    generator = random.Random(7)
    running = [start_one(index) for index in range(4)]
    started, kills = 4, 0
    deadline = time.monotonic() + 30
    try:
        while contents(folder / "q.db")["in"]:
            assert time.monotonic() < deadline, "still not empty"
            time.sleep(generator.uniform(0.02, 0.3))  # the moment of the next murder, not a wait for something
            index = generator.randrange(4)
            running[index].kill()
            running[index].wait()
            kills += 1
            running[index] = start_one(started)
            started += 1
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert kills >= 5, "it went too fast to be a test"


def contents(file: Path) -> dict[str, list[str]]:
    """Return the ids in each queue, after a look at the file's soundness."""
    connection = sqlite3.connect(file)
    try:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        unpaired = "SELECT count(*) FROM entry FULL JOIN message USING (seq) WHERE queue IS NULL OR body IS NULL"
        if sqlite3.sqlite_version_info >= (3, 39):
            assert connection.execute(unpaired).fetchone() == (0,)
        found: dict[str, list[str]] = {"in": [], "out": []}
        rows = connection.execute(
            "SELECT name, json_extract(properties, '$.id') FROM queue"
            " JOIN entry ON entry.queue = queue.id JOIN message USING (seq) ORDER BY seq"
        )
        for name, one in rows:
            found[name].append(one)
        return found
    finally:
        connection.close()


def start(role: str, url: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, role, url, *map(str, arguments)])


# -- what the processes do


def transport_of(url: str) -> SqliteTransport:
    return SqliteTransport([url], clock=SystemClock(), on_lost=lambda error: print(error, file=sys.stderr))


async def fill(url: str) -> None:
    transport = transport_of(url)
    await transport.open()
    await transport.declare(QUEUES)
    receipts = await transport.publish([Message(id=str(n), routing_key="in", body=b"x" * 200) for n in range(MESSAGES)])
    assert all(receipt.ok for receipt in receipts)
    await transport.close()


async def consume(url: str, settlement: Callable[[Any], Settlement]) -> None:
    transport = transport_of(url)
    await transport.open()
    async with transport.consume(["in"], prefetch=10) as consumer:
        while True:
            deliveries = await consumer.receive(10, 1)
            await consumer.settle([settlement(delivery) for delivery in deliveries])
            await asyncio.sleep(0.005)  # a little work, so that the murderer has time


async def hammer(url: str) -> None:
    transport, store = transport_of(url), SqliteResultStore([url], clock=SystemClock())
    await transport.open()
    await store.open()
    await transport.declare(QUEUES)
    mine = f"{os.getpid()}-"
    async with transport.consume(["in"], prefetch=20) as consumer:
        for turn in range(150):
            receipts = await transport.publish([Message(id=f"{mine}{turn}-{n}", routing_key="in") for n in range(5)])
            assert all(receipt.ok for receipt in receipts)
            await settled(consumer, store, await consumer.receive(5, 0))
        while deliveries := await consumer.receive(20, 0.5):
            await settled(consumer, store, deliveries)
    await transport.close()
    await store.close()


async def settled(consumer: Any, store: SqliteResultStore, deliveries: Any) -> None:
    stored = await store.put([ResultRecord(task_id=one.message.id, attempt=1, state=SUCCESS) for one in deliveries])
    assert all(stored)
    receipts = await consumer.settle([Settlement(one.token) for one in deliveries])
    assert all(receipt is SettleReceipt.DONE for receipt in receipts)


def every_statement(folder: str) -> int:
    """Fork one child a statement; return how many it took until one came through."""
    for limit in range(1, 1000):
        file = f"{folder}/{limit}.db"
        forked(lambda file=file: asyncio.run(prepare(file)))
        reader, writer = os.pipe()
        signalled = forked(lambda file=file, limit=limit, writer=writer: asyncio.run(short_life(file, limit, writer)))
        os.close(writer)
        with os.fdopen(reader) as said:
            check_after_death(file, said.read().split())
        if not signalled:
            return limit
    raise AssertionError("it never came through")


async def prepare(file: str) -> None:
    transport = transport_of(f"sqlite:///{file}")
    await transport.open()
    await transport.declare(QUEUES)
    await transport.publish([Message(id=one, routing_key="in") for one in ("acked", "moved", "untouched")])
    await transport.close()


async def short_life(file: str, limit: int, said: int) -> None:
    """Claim, ack and move, publish, store; say what was confirmed; die before statement ``limit``."""
    left = iter(range(limit))

    def count(_statement: str) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(count)
        return connection

    database.sqlite3.connect = traced  # type: ignore[assignment]
    transport = transport_of(f"sqlite:///{file}")
    await transport.open()
    async with transport.consume(["in"], prefetch=2) as consumer:
        acked, moved = await consumer.receive(2, 1)
        os.write(said, b"claimed ")
        move = Move([Message(id="moved", routing_key="out"), Message(id="second", routing_key="out")])
        await consumer.settle([Settlement(acked.token, ACK), Settlement(moved.token, move)])
        os.write(said, b"settled ")
        await transport.publish([Message(id="new", routing_key="in")])
        os.write(said, b"published ")
    await transport.close()


def check_after_death(file: str, said: list[str]) -> None:
    found = contents(file)  # type: ignore[arg-type]
    before = ["acked", "moved", "untouched"]
    # all of a settlement or nothing of it
    assert (found["in"][:3], found["out"]) in [(before, []), (found["in"][:3], ["moved", "second"])], (said, found)
    assert "untouched" in found["in"], (said, found)
    assert ("acked" in found["in"]) == ("moved" in found["in"]) == (not found["out"]), (said, found)
    # what was confirmed is there
    assert "settled" not in said or found["out"], (said, found)
    assert "published" not in said or "new" in found["in"], (said, found)


def forked(work: Callable[[], None]) -> bool:
    """Run ``work`` in a forked child; return whether a signal ended it."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def noting(path: str) -> Callable[[Any], Settlement]:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(delivery: Any) -> Settlement:
        os.write(file, f"{delivery.message.id}\n".encode())
        return Settlement(delivery.token)

    return note


def moving(delivery: Any) -> Settlement:
    return Settlement(delivery.token, Move([Message(id=delivery.message.id, routing_key="out")]))


def main(role: str, place: str, *arguments: str) -> None:
    match role:
        case "ack":
            asyncio.run(consume(place, noting(*arguments)))
        case "move":
            asyncio.run(consume(place, moving))
        case "hammer":
            asyncio.run(hammer(place))
        case "every-statement":
            print(every_statement(place))


if __name__ == "__main__":
    main(*sys.argv[1:])
