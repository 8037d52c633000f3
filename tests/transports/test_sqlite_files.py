"""What can be wrong with a file, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import AccessRefused, ConnectionLost, TransportError
from celeriac.message import Message, Settlement, SettleReceipt
from celeriac.topology import Queue, Topology
from celeriac_sqlite import filesystem
from celeriac_sqlite.database import SCHEMA_VERSION, Database
from celeriac_sqlite.transport import SqliteTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QUEUE = Topology.of([Queue("q")])


def make(file: Path, losses: list[TransportError] | None = None, options: str = "") -> SqliteTransport:
    return SqliteTransport(
        [f"sqlite:///{file}{options}"], clock=SystemClock(), on_lost=[].append if losses is None else losses.append
    )


@contextlib.asynccontextmanager
async def opened(file: Path, losses: list[TransportError] | None = None, options: str = "") -> AsyncIterator[Any]:
    transport = make(file, losses, options)
    await transport.open()
    try:
        await transport.declare(QUEUE)
        yield transport
    finally:
        await transport.close()


def messages(count: int) -> list[Message]:
    return [Message(id=str(number), routing_key="q") for number in range(count)]


def cannot_open(file: Path, error: type[TransportError], said: str) -> None:
    async def attempt() -> None:
        transport = make(file)
        with pytest.raises(error, match=said):
            await transport.open()
        with pytest.raises(ConnectionLost, match="not open"):
            await transport.publish(messages(1))
        await transport.close()

    before = threading.active_count()
    asyncio.run(attempt())
    assert threading.active_count() == before


def test_a_missing_folder(tmp_path: Path):
    cannot_open(tmp_path / "none" / "q.db", ConnectionLost, "folder does not exist: .*/none$")


def test_a_file_where_a_folder_should_be(tmp_path: Path):
    (tmp_path / "file").write_text("")
    cannot_open(tmp_path / "file" / "q.db", ConnectionLost, "folder does not exist")


def test_a_link_to_nothing_where_a_folder_should_be(tmp_path: Path):
    (tmp_path / "q.db.d").symlink_to(tmp_path / "nothing")
    cannot_open(tmp_path / "q.db", ConnectionLost, "File exists")


def test_a_folder_that_somebody_makes_and_removes(tmp_path: Path):
    folder, stop = tmp_path / "q.db.d", threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                folder.mkdir()
            with contextlib.suppress(OSError):
                folder.rmdir()

    somebody = threading.Thread(target=come_and_go)
    somebody.start()
    try:
        for _ in range(20_000):
            filesystem.make(folder)
    finally:
        stop.set()
        somebody.join()


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path):
    file = tmp_path / "notes.txt"
    file.write_text("dear diary " * 200)
    cannot_open(file, AccessRefused, "not a database")
    assert file.read_text() == "dear diary " * 200
    assert [*tmp_path.iterdir()] == [file]


def test_the_database_of_another_program_is_left_alone(tmp_path: Path):
    file = tmp_path / "django.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE auth_user (id)")
    kept = file.read_bytes()
    cannot_open(file, AccessRefused, "another program")
    assert file.read_bytes() == kept


def test_the_file_of_a_newer_version(tmp_path: Path):
    file = tmp_path / "q.db"

    async def make_one() -> None:
        async with opened(file):
            pass

    asyncio.run(make_one())
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    cannot_open(file, AccessRefused, "newer celeriac .schema 2, this one reads 1.; upgrade")


def test_a_folder_that_we_may_not_write(tmp_path: Path):
    """In a process that is not root, for whom every folder is writable."""
    program = f"""
import asyncio, os
from celeriac.clock import SystemClock
from celeriac.errors import AccessRefused
from celeriac_sqlite.transport import SqliteTransport
if os.getuid() == 0:
    os.setuid(65534)
try:
    asyncio.run(SqliteTransport(["sqlite:///{tmp_path}/q.db"], clock=SystemClock(), on_lost=print).open())
except AccessRefused as error:
    print(error)
"""
    tmp_path.chmod(0o555)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "Permission denied" in done.stdout, done.stderr


def test_a_full_disk_is_a_lost_connection_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    prepare = Database._prepare

    def small(self: Database) -> None:
        prepare(self)
        self._connection.execute("PRAGMA max_page_count = 60")

    async def fill() -> None:
        losses: list[TransportError] = []
        async with opened(tmp_path / "q.db", losses) as transport:
            await transport.publish(messages(3))
            with pytest.raises(ConnectionLost, match="database or disk is full"):
                await transport.publish([Message(id="big", routing_key="q", body=b"x" * 500_000)])
            assert [str(loss) for loss in losses] == [f"{tmp_path}/q.db: database or disk is full"]
            with pytest.raises(ConnectionLost, match="full"):
                await transport.publish(messages(1))
            monkeypatch.undo()
            await transport.open()
            assert (await transport.depth("q")).ready == 3

    monkeypatch.setattr(Database, "_prepare", small)
    asyncio.run(fill())


def test_a_file_that_is_replaced_is_a_lost_connection(tmp_path: Path):
    """Noticed while asleep; everything fails, nothing hangs, and the transport can be opened again."""

    async def replace() -> None:
        losses: list[TransportError] = []
        file = tmp_path / "q.db"
        async with opened(file, losses) as transport, transport.consume(["q"], prefetch=1) as consumer:
            await transport.publish(messages(1))
            (held,) = await consumer.receive(1, 1)
            receiving = asyncio.create_task(consumer.receive(1, 30))
            file.rename(tmp_path / "hidden")
            async with asyncio.timeout(5):
                with pytest.raises(ConnectionLost, match="removed or replaced"):
                    await receiving
            assert len(losses) == 1
            with pytest.raises(ConnectionLost):
                await consumer.settle([Settlement(held.token)])
            assert not await consumer.check()
            (tmp_path / "hidden").rename(file)
            await transport.open()
            async with transport.consume(["q"], prefetch=1) as again:
                (delivery,) = await again.receive(1, 5)  # given back by the reopening, long before its lease ends
                assert delivery.redelivered
                assert await again.settle([Settlement(held.token)]) == [SettleReceipt.LOST]
                assert await again.settle([Settlement(delivery.token)]) == [SettleReceipt.DONE]

    asyncio.run(replace())


def test_another_program_that_holds_the_write_lock_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("celeriac_sqlite.database.BUSY_WAIT", 0.05)

    async def wait() -> None:
        async with opened(tmp_path / "q.db") as transport:
            with contextlib.closing(sqlite3.connect(tmp_path / "q.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                publishing = asyncio.create_task(transport.publish(messages(1)))
                done, _ = await asyncio.wait([publishing], timeout=0.5)
                assert not done
                other.execute("COMMIT")
            assert (await publishing)[0].ok

    asyncio.run(wait())


def test_closing_does_not_wait_for_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("celeriac_sqlite.database.BUSY_WAIT", 0.05)

    async def wait() -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "q.db", isolation_level=None)) as other:
            async with opened(tmp_path / "q.db") as transport:
                other.execute("BEGIN IMMEDIATE")
                publishing = asyncio.create_task(transport.publish(messages(1)))
                await asyncio.wait([publishing], timeout=0.2)
            with pytest.raises(ConnectionLost):
                await publishing

    asyncio.run(asyncio.wait_for(wait(), 10))


def test_after_the_last_close_only_the_database_is_left(tmp_path: Path):
    async def live() -> None:
        async with opened(tmp_path / "q.db") as transport:
            await transport.publish(messages(10))
            async with opened(tmp_path / "q.db") as other:
                assert (await other.depth("q")).ready == 10
            assert (tmp_path / "q.db.d").is_dir()
            assert (await transport.depth("q")).ready == 10

    asyncio.run(live())
    assert [path.name for path in tmp_path.iterdir()] == ["q.db"]


def test_a_very_long_path_has_a_doorbell_too(tmp_path: Path):
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)

    async def live() -> None:
        async with opened(folder / "q.db") as transport:
            await transport.publish(messages(1))
            assert sorted(path.suffix for path in (folder / "q.db.d").iterdir()) == ["", ".bell"]

    asyncio.run(live())
