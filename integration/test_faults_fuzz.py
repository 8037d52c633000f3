"""Broken messages at a live worker: it never exits, and each of them is acknowledged or set aside."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest
from witness import Witness, until
from worker_process import WorkerProcess

from celeriac import App
from celeriac.errors import ConfigurationError, TransportError
from celeriac.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUIET = 2.5  # seconds
COUNTS = [1_000, pytest.param(10_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])]


class Fuzz:
    """Messages that are wrong in some way, or in none; the same for the same seed."""

    def __init__(self, seed: int, path: Path) -> None:
        self.binary: type = bytes
        self._random = random.Random(seed)
        self._path = str(path)

    def any(self, depth: int = 2) -> Any:
        pick = self._random.randrange(12 if depth else 9)
        simple = [None, True, -1, 2**40, 1.5, "", "x" * 300, "null", self.binary(b"\x00\xff")]
        if pick < len(simple):
            return simple[pick]
        if pick == len(simple):
            return [self.any(depth - 1) for _ in range(self._random.randrange(4))]
        return {f"k{n}": self.any(depth - 1) for n in range(self._random.randrange(4))}

    def headers(self) -> dict[str, Any]:
        if self._random.random() < 0.05:
            return {}
        headers: dict[str, Any] = {
            "task": self._random.choice(["storm.note", "storm.anote", "nobody.knows"]),
            "id": f"fuzz-{self._random.random()}",
            "lang": "py",
            "retries": 0,
        }
        names = ["task", "id", "retries", "eta", "expires", "timelimit", "celeriac", "root_id", "parent_id", "group"]
        names += [
            "argsrepr",
            "kwargsrepr",
            "origin",
            "ignore_result",
            "lang",
            "compression",
            "shadow",
            "meth",
            "stamps",
        ]
        for name in self._random.sample(names, self._random.randrange(4)):
            headers[name] = self.any()
        if self._random.random() < 0.2:
            table = ["v", "crashes", "accused", "lost", "history", "signature", "dead", "unknown_since"]
            headers["celeriac"] = {name: self.any() for name in self._random.sample(table, 3)}
        for name in self._random.sample(sorted(headers), self._random.randrange(2)):
            del headers[name]
        return headers

    def body(self) -> bytes:
        pick = self._random.randrange(6)
        if pick == 0:
            return self._random.randbytes(self._random.randrange(100))
        if pick == 1:
            return json.dumps(self.any(), default=str).encode()
        args = [self._path, self._random.randrange(100)] if pick < 5 else [str(self.any())]
        embed: dict[str, Any] = dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))
        if self._random.random() < 0.2:
            embed[self._random.choice(sorted(embed))] = self.any()
        return json.dumps([args, {}, embed], default=str).encode()

    def text(self, usual: str) -> str:
        return usual if self._random.random() < 0.8 else str(self.any())[:200]

    def priority(self) -> int:
        return self._random.choice([0, 0, 0, 5, 255])


@pytest.fixture
def fuzz(tmp_path) -> Fuzz:
    path = tmp_path / "ran"
    path.touch()
    return Fuzz(20_260, path)


@pytest.fixture(autouse=True)
def hurry(monkeypatch) -> None:
    """What nobody knows is soon set aside."""
    monkeypatch.setenv("CELERIAC_UNKNOWN_TASK_DEADLINE", "1")
    monkeypatch.setenv("CELERIAC_UNKNOWN_TASK_DELAY", "0.2")


@contextmanager
def survived(broker: str, path: Path, count: int) -> Iterator[None]:
    """Run a worker process that must be well at the end, with nothing left in its hands."""
    with WorkerProcess("storm", broker, "-c", "1", "-l", "CRITICAL") as worker, Witness(broker) as witness:
        worker.ready()
        yield
        until(lambda: is_quiet(witness), 60 + count / 50)
        app = App("after", broker=broker, ignore_result=True)
        app.send_task("storm.note", (str(path), 1_000_000))
        app.close()
        until(lambda: "1000000" in path.read_text(), 20)
        assert worker.terminate() == 0, "\n".join(worker.lines)
        assert witness.ready() == 0, "nothing was given back"
        dead = witness.ready("celeriac.dead")
    runs = Counter(path.read_text().split())
    print(f"{count} broken messages: {dead} set aside, {sum(runs.values()) - 1} were sound enough to run")
    assert dead > count // 10


def is_quiet(witness: Witness) -> bool:
    """Return whether nothing waits, and for longer than an unknown task is delayed nothing new is set aside."""
    before = witness.ready("celeriac.dead") if witness.exists("celeriac.dead") else 0
    begun = time.monotonic()
    while time.monotonic() - begun < QUIET:
        if witness.ready() or not witness.exists("celeriac.dead") or witness.ready("celeriac.dead") != before:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("count", COUNTS)
def test_broken_messages_from_another_client(amqp_url, fuzz, tmp_path, count) -> None:
    """By aio-pika, which writes what AMQP allows and celeriac would never write."""

    fuzz.binary = bytearray  # what aio-pika writes as bytes

    async def publish() -> None:
        connection = await aio_pika.connect(amqp_url)
        async with connection:
            channel = await connection.channel()
            for size in (65_300, 100_000):
                headers = {"task": 5, "id": "large", "note": "x" * size}
                message = aio_pika.Message(b"", headers=headers)  # larger than celeriac itself would publish
                await channel.default_exchange.publish(message, "celeriac")
            for _ in range(count):
                message = aio_pika.Message(
                    fuzz.body(),
                    headers=fuzz.headers(),
                    content_type=fuzz.text("application/json"),
                    content_encoding=fuzz.text("utf-8"),
                    correlation_id=fuzz.text("c"),
                    reply_to=fuzz.text(""),
                    message_id=fuzz.text("m"),
                    type=fuzz.text("t"),
                    priority=fuzz.priority(),
                    expiration=timedelta(hours=1),
                )
                await channel.default_exchange.publish(message, "celeriac")

    with survived(amqp_url, tmp_path / "ran", count):
        asyncio.run(publish())


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_broken_messages_from_a_transport(request, fuzz, tmp_path, kind, count) -> None:
    if kind == "redis":
        broker = request.getfixturevalue("redis_url")
    else:
        broker = f"sqlite:///{tmp_path}/celeriac.db?synchronous=normal"
    with survived(broker, tmp_path / "ran", count):
        app = App("fuzz", broker=broker)
        stored = app.client.portal.run(publish_all(app, fuzz, count))
        app.close()
        print(f"{count - stored} were refused by the transport")


@pytest.mark.parametrize("count", COUNTS)
def test_broken_messages_in_memory(fuzz, tmp_path, count) -> None:
    app = App("fuzz", broker="memory://")

    @app.task(name="storm.note")
    def note(path: str, number: int) -> int:
        return number

    with app.run_worker(pool="thread", concurrency=1):
        app.client.portal.run(publish_all(app, fuzz, count))
        transport = app.client.connection.transport
        until(lambda: settled(app, transport), 60 + count / 50)
        assert note.delay("", 7).get(timeout=10) == 7
    assert app.client.portal.run(transport.depth("celeriac.dead")).ready > count // 10
    app.close()


def settled(app: App, transport: Any) -> bool:
    depth = app.client.portal.run(transport.depth("celeriac"))
    return (depth.ready, depth.running, depth.delayed) == (0, 0, 0)


async def publish_all(app: App, fuzz: Fuzz, count: int) -> int:
    """Publish what the transport takes; return how much that was."""
    await app.client.connection.ready()
    stored = 0
    for _ in range(count):
        message = Message(
            id=fuzz.text("m"),
            routing_key="celeriac",
            body=fuzz.body(),
            headers=fuzz.headers(),
            content_type=fuzz.text("application/json"),
            content_encoding=fuzz.text("utf-8"),
            correlation_id=fuzz.text("c"),
            reply_to=fuzz.text(""),
        )
        try:
            (receipt,) = await app.client.connection.transport.publish([message])
        except (ConfigurationError, TransportError):
            continue
        stored += receipt.ok
    return stored
