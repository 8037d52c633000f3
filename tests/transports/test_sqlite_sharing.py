"""One file, several loops, threads and processes: one writer a process, rings between them, nothing across a fork."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import ConnectionLost
from celeriac.message import Message, Settlement
from celeriac.results import ResultRecord
from celeriac.states import SUCCESS
from celeriac.topology import Queue, Topology
from celeriac_sqlite import doorbell
from celeriac_sqlite import session as sessions
from celeriac_sqlite.doorbell import Doorbell
from celeriac_sqlite.store import SqliteResultStore
from celeriac_sqlite.transport import SqliteTransport

if TYPE_CHECKING:
    from pathlib import Path

QUEUE = Topology.of([Queue("q")])


async def opened(file: Path) -> SqliteTransport:
    transport = SqliteTransport([f"sqlite:///{file}"], clock=SystemClock(), on_lost=print)
    await transport.open()
    await transport.declare(QUEUE)
    return transport


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "celeriac-sqlite q.db"]


def test_transports_and_stores_of_one_file_share_one_thread(tmp_path: Path):
    async def live() -> None:
        first, second = await opened(tmp_path / "q.db"), await opened(tmp_path / "q.db")
        store = SqliteResultStore([f"sqlite:///{tmp_path}/q.db"], clock=SystemClock())
        await store.open()
        assert threads() == ["celeriac-sqlite q.db"]
        await first.close()
        await second.publish([Message(id="1", routing_key="q")])
        await second.close()
        await store.put([ResultRecord(task_id="1", attempt=1, state=SUCCESS)])
        await store.close()
        assert threads() == []

    asyncio.run(live())


def test_loops_of_several_threads_wake_each_other(tmp_path: Path):
    """As a client's portal and a worker in its process do."""
    waiting, got = threading.Event(), []

    async def consume() -> None:
        transport = await opened(tmp_path / "q.db")
        async with transport.consume(["q"], prefetch=10) as consumer:
            assert await consumer.receive(1, 0) == ()
            waiting.set()
            while len(got) < 100:
                deliveries = await consumer.receive(10, 10)
                got.extend(delivery.message.id for delivery in deliveries)
                await consumer.settle([Settlement(delivery.token) for delivery in deliveries])
        await transport.close()

    async def produce() -> None:
        transport = await opened(tmp_path / "q.db")
        await asyncio.to_thread(waiting.wait, 10)
        for number in range(100):
            await transport.publish([Message(id=str(number), routing_key="q")])
        await transport.close()

    thread = threading.Thread(target=lambda: asyncio.run(consume()))
    thread.start()
    asyncio.run(produce())
    thread.join(10)
    assert got == [str(number) for number in range(100)]


def test_opening_and_closing_at_the_same_time(tmp_path: Path):
    """No matter who is first and who is last: everyone's message gets there."""

    async def visit(name: str) -> None:
        for turn in range(5):
            transport = await opened(tmp_path / "q.db")
            await transport.publish([Message(id=f"{name}{turn}", routing_key="q")])
            await transport.close()

    def several() -> None:
        async def run() -> None:
            await asyncio.gather(*(visit(f"{threading.get_ident()}-{n}-") for n in range(3)))

        asyncio.run(run())

    visitors = [threading.Thread(target=several) for _ in range(3)]
    for thread in visitors:
        thread.start()
    for thread in visitors:
        thread.join(30)

    async def count() -> int:
        transport = await opened(tmp_path / "q.db")
        ready = (await transport.depth("q")).ready
        await transport.close()
        return ready

    assert asyncio.run(count()) == 45
    assert not (tmp_path / "q.db.d").exists()


def test_a_loop_that_was_closed_early_harms_nobody(tmp_path: Path):
    """It left a transport open and a job under way; the next user of the file does not notice."""

    async def careless() -> SqliteTransport:
        transport = await opened(tmp_path / "q.db")
        transport._session.write(_slow, None)
        return transport

    async def careful() -> None:
        transport = await opened(tmp_path / "q.db")
        assert (await transport.publish([Message(id="1", routing_key="q")]))[0].ok
        await transport.close()

    left = asyncio.run(careless())
    asyncio.run(careful())
    asyncio.run(left.close())
    assert threads() == []


def _slow(_database: object, calls: list[None]) -> list[None]:
    time.sleep(0.05)
    return calls


PUBLISHER = """
import asyncio, sys, time
from celeriac.clock import SystemClock
from celeriac.message import Message
from celeriac_sqlite.transport import SqliteTransport

async def main():
    transport = SqliteTransport([sys.argv[1]], clock=SystemClock(), on_lost=print)
    await transport.open()
    for turn in range(20):
        sys.stdin.readline()
        await transport.publish([Message(id=repr(time.time()), routing_key="q")])
    await transport.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("bell", ["heard", "lost", "none"])
def test_a_sleeper_is_woken_from_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bell: str):
    """By its doorbell within some milliseconds; when rings are lost, by the look at data_version within 250 ms."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    if bell == "lost":
        monkeypatch.setattr(Doorbell, "_bind", lambda _: None)
    elif bell == "none":  # no socket's address is so long, and the system has no /proc
        monkeypatch.setattr(doorbell, "DESCRIPTORS", tmp_path / "no such folder")

    async def wait() -> list[float]:
        transport = await opened(folder / "q.db")
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PUBLISHER, f"sqlite:///{folder}/q.db", stdin=subprocess.PIPE
        )
        late = []
        async with transport.consume(["q"], prefetch=1) as consumer:
            for _ in range(20):
                child.stdin.write(b"\n")
                (delivery,) = await consumer.receive(1, 10)
                late.append(time.time() - float(delivery.message.id))
                await consumer.settle([Settlement(delivery.token)])
        await child.communicate()
        await transport.close()
        return sorted(late)

    late = asyncio.run(wait())
    assert late[10] < {"heard": 0.05, "lost": 0.4, "none": 0.1}[bell], late


def test_a_busy_writer_hears_its_doorbell(tmp_path: Path):
    """A signal from elsewhere arrives within a second though jobs never end."""

    async def live() -> None:
        transport = await opened(tmp_path / "q.db")
        busy = True

        async def publish_for_ever() -> None:
            while busy:
                await transport.publish([Message(id="1", routing_key="q")])

        program = PUBLISHER.replace(
            'publish([Message(id=repr(time.time()), routing_key="q")])', 'signal("topic", repr(time.time()).encode())'
        ).replace("range(20)", "range(1)")
        async with transport.listen("topic") as signals, asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(publish_for_ever())
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, f"sqlite:///{tmp_path}/q.db", stdin=subprocess.PIPE
            )
            child.stdin.write(b"\n")
            async with asyncio.timeout(10):
                assert time.time() - float(await anext(signals)) < 1
            busy = False
            await child.communicate()
        await transport.close()

    asyncio.run(live())


def test_sockets_of_dead_processes_are_taken_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # a socket's address is short

    async def live() -> None:
        transport = await opened(tmp_path / "q.db")
        stale = tmp_path / "q.db.d" / "1-dead.bell"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind("q.db.d/1-dead.bell")
        assert stale.exists()
        await transport.publish([Message(id="1", routing_key="q")])
        async with asyncio.timeout(5):
            while stale.exists():
                await transport.depth("q")
        await transport.close()

    asyncio.run(live())
    assert not (tmp_path / "q.db.d").exists()


def test_nothing_crosses_a_fork(tmp_path: Path):
    """The child refuses what it inherited, opens its own, and harms neither the parent's locks nor its consumers."""

    async def in_the_child(transport: SqliteTransport) -> None:
        with pytest.raises(ConnectionLost, match="fork"):
            await transport.publish([Message(id="0", routing_key="q")])
        await transport.open()
        assert (await transport.depth("q")).running == 1  # held by the parent, and not given back
        await transport.publish([Message(id="2", routing_key="q")])
        await transport.close()

    def fork(transport: SqliteTransport) -> int:
        child = os.fork()
        if child:
            return child
        code = 1
        signal.alarm(20)  # a child that hangs is a failure too
        try:
            asyncio.set_event_loop(None)
            asyncio.events._set_running_loop(None)
            asyncio.run(in_the_child(transport))
            assert f"{tmp_path}/q.db" in [writer.path for writer in sessions._writers._inherited]
            code = 0
        finally:
            os._exit(code)

    async def live() -> None:
        transport = await opened(tmp_path / "q.db")
        await transport.publish([Message(id="1", routing_key="q")])
        async with transport.consume(["q"], prefetch=2) as consumer:
            (first,) = await consumer.receive(1, 1)
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                child = fork(transport)
            (second,) = await consumer.receive(1, 10)
            assert second.message.id == "2"
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            assert status == 0
            receipts = await consumer.settle([Settlement(first.token), Settlement(second.token)])
            assert [receipt.name for receipt in receipts] == ["DONE", "DONE"]
        await transport.close()

    asyncio.run(live())
    assert [path.name for path in tmp_path.iterdir()] == ["q.db"]
