"""Every way in which a publish can end, on every broker: `delay()` returns only when the broker owns and routed the
message, else it raises within ``publish_timeout``; and the broker holds what was returned from, and nothing else but
what nobody confirmed and the link withheld: of that, each may have arrived.

No broker refuses a message in memory or in a file by itself (nack), neither has a link to lose, and memory has no disk.
"""

from __future__ import annotations

import re
import resource
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from conftest import with_vhost
from witness import Witness, until

from celeriac import App, Exchange, Queue
from celeriac.errors import (
    AccessRefused,
    ConnectionLost,
    MessageTooLarge,
    PublishErrors,
    PublishNacked,
    PublishUnconfirmed,
    Unroutable,
)
from celeriac.testing import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 1.5  # publish_timeout
SLACK = 0.5  # of a busy machine
NAME = "sums.add"
NOWHERE = Exchange("nowhere")


@pytest.fixture
def open_app():
    apps = []

    def open_app(broker: str, **options) -> App:
        apps.append(App("matrix", broker=broker, publish_timeout=TIMEOUT, ignore_result=True, **options))
        return apps[-1]

    yield open_app
    for app in apps:
        app.close()


@pytest.fixture(params=["memory", "sqlite", "amqp", "redis"])
def broker(request, tmp_path) -> str:
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/celeriac.db"
    return request.getfixturevalue(f"{request.param}_url")


def send(app: App, **options) -> None:
    app.send_task(NAME, (1, 2), **options)


@contextmanager
def raises(*kinds: type[Exception]) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect one of ``kinds``, within the timeout."""
    begun = time.monotonic()
    with pytest.raises(kinds) as caught:
        yield caught
    seconds = time.monotonic() - begun
    assert seconds < TIMEOUT + SLACK, f"{seconds:.1f} s until {caught.value!r}"
    assert "secret" not in str(caught.value)


def holds(witness: Witness, count: int, queue: str = "celeriac", more: int = 0) -> None:
    """Wait until the broker holds ``count`` messages, or up to ``more`` of which nobody knows."""
    seen: list[int] = []
    until(
        lambda: seen.append(witness.ready(queue)) or count <= seen[-1] <= count + more,
        5,
        lambda: f"{seen[-1]}, not {count}: {queue}",
    )


# -- what any broker answers


def test_confirmed(open_app, broker) -> None:
    app = open_app(broker)
    send(app)
    app.send_task(NAME, (1, 2), countdown=3600)
    with Witness(broker) as witness:
        holds(witness, 1)


def test_unroutable(open_app, broker) -> None:
    app = open_app(broker, exchanges=[NOWHERE])
    with raises(Unroutable):
        send(app, exchange="nowhere", routing_key="nobody")
    with raises(Unroutable):
        send(app, exchange="nowhere", routing_key="nobody", countdown=60)
    with raises(Unroutable):
        send(app, exchange="never-declared", routing_key="nobody")
    send(app)
    with Witness(broker) as witness:
        holds(witness, 1)


def test_unroutable_as_the_queue_is_not_ours_to_make(open_app, broker) -> None:
    with raises(Unroutable):
        send(open_app(broker, declare="never"), queue="celeriac.nobody-made-it")


def test_too_large(open_app, broker) -> None:
    app = open_app(broker)
    with raises(MessageTooLarge):
        app.send_task(NAME, ("x" * 9_000_000,))
    app.send_task(NAME, ("x" * 7_000_000,))
    with Witness(broker) as witness:
        holds(witness, 1)


def test_headers_too_large_for_a_frame(open_app, amqp_url) -> None:
    app = open_app(amqp_url)
    with raises(MessageTooLarge):
        send(app, headers={"note": "x" * 100_000})
    send(app)
    with Witness(amqp_url) as witness:
        holds(witness, 1)


def test_one_bad_message_of_many_harms_no_other(open_app, broker) -> None:
    app = open_app(broker)
    with raises(PublishErrors) as caught:
        send_together(app, ["", "never-declared", ""])
    assert [message.exchange for message in caught.value.failed] == ["never-declared"]
    with Witness(broker) as witness:
        holds(witness, 2)


def send_together(app: App, exchanges: list[str]) -> None:
    with app.batch():
        for exchange in exchanges:
            send(app, exchange=exchange, routing_key="celeriac")


# -- RabbitMQ: what it refuses


def test_nacked(open_app, amqp_url) -> None:
    full = Queue("celeriac", arguments={"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"})
    app = open_app(amqp_url, queues=[full])
    send(app)
    with raises(PublishNacked):
        send(app)
    with Witness(amqp_url) as witness:
        holds(witness, 1)


def test_a_wrong_password_and_a_wrong_virtual_host(open_app, amqp_broker) -> None:
    for url in (amqp_broker.replace("guest:guest", "guest:secret"), with_vhost(amqp_broker, "nobody-made-it")):
        with raises(AccessRefused):
            send(open_app(url))


def test_a_wrong_password_and_a_database_that_is_not_there(open_app, redis_broker) -> None:
    server, _, _ = redis_broker.rpartition("/")
    for url in (server.replace("redis://", "redis://:secret@") + "/0", f"{server}/4096"):
        with raises(AccessRefused):
            send(open_app(url))


@pytest.mark.parametrize("opened_before", [False, True])
def test_a_memory_alarm(open_app, amqp_node, opened_before) -> None:
    app = open_app(amqp_node.url)
    with Witness(amqp_node.url) as witness:
        witness.delete("celeriac")
        sent = 0
        if opened_before:
            send(app)
            sent += 1
        amqp_node.control("set_vm_memory_high_watermark", "0.00001")
        try:
            with raises(PublishUnconfirmed, ConnectionLost):
                send(app)
        finally:
            amqp_node.control("set_vm_memory_high_watermark", "0.4")
        sends_again(app, 10)
        holds(witness, sent + 1)


def sends_again(app: App, within: float = 15) -> int:
    """Send until one message is confirmed; return how many before it nobody confirmed, and may have arrived."""
    unknown = 0

    def sends() -> bool:
        nonlocal unknown
        try:
            send(app)
        except PublishUnconfirmed:
            unknown += 1
            return False
        except ConnectionLost:
            return False
        return True

    until(sends, within)
    return unknown


# -- what becomes of the link


FAULTS = ("refuse", "reset", "blackhole", "silent", "drip")
WITHHELD = ("blackhole", "drip")  # what is on its way may arrive once the link is healed


@pytest.fixture(params=["amqp", "redis"])
def linked(request) -> str:
    """A broker at the other end of a link."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.mark.parametrize("opened_before", [False, True], ids=["first", "later"])
def test_a_link_that_fails(open_app, linked, opened_before) -> None:
    """Each fault beside the others, as each takes the whole timeout."""
    with ThreadPoolExecutor(len(FAULTS)) as threads:
        for _ in threads.map(lambda fault: fails_by(fault, open_app, linked, opened_before), FAULTS):
            pass


def fails_by(fault: str, open_app, linked: str, opened_before: bool) -> None:  # noqa: FBT001 - the case of a table
    sent = unknown = 0
    with FaultProxy(linked) as proxy, Witness(linked) as witness:
        option = f"{'&' if '?' in linked else '?'}heartbeat=2"
        app = open_app(proxy.url(linked) + option, default_queue=f"celeriac.{fault}")
        if opened_before:
            send(app)
            sent += 1
        if fault == "drip":
            proxy.drip(50)
        else:
            getattr(proxy, fault)()
        if fault == "silent" and opened_before:
            send(app)  # its connections are as they were
            sent += 1
        else:
            with raises(ConnectionLost, PublishUnconfirmed) as caught:
                send(app)
            unknown += caught.errisinstance(PublishUnconfirmed)
        proxy.heal()
        unknown += sends_again(app)
        holds(witness, sent + 1, app.default_queue.name, unknown if fault in WITHHELD else 0)
        witness.delete(app.default_queue.name)


@pytest.fixture
def proxy(linked) -> Iterator[FaultProxy]:
    with FaultProxy(linked) as proxy:
        yield proxy


def test_a_slow_link_is_no_failure(open_app, linked, proxy) -> None:
    app = open_app(proxy.url(linked))
    proxy.latency(0.02)
    send(app)
    with Witness(linked) as witness:
        holds(witness, 1)


# -- SQLite: the disk, and others who use the file


@pytest.fixture
def file(tmp_path):
    return tmp_path / "celeriac.db"


def test_a_full_disk(open_app, file) -> None:
    app = open_app(f"sqlite:///{file}")
    send(app)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))  # no file of this process grows beyond it
    try:
        with suppress(ConnectionLost):
            for sent in range(1, 100):  # noqa: B007 - so many were taken when it is left
                app.send_task(NAME, ("x" * 100_000,))
        with raises(ConnectionLost) as caught:
            app.send_task(NAME, ("x" * 100_000,))
        assert re.search("full|disk I/O", str(caught.value))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    sends_again(app, 10)
    with Witness(f"sqlite:///{file}") as witness:
        holds(witness, sent + 1)


def test_a_file_that_another_program_keeps_locked(open_app, file) -> None:
    app = open_app(f"sqlite:///{file}")
    send(app)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with raises(PublishUnconfirmed):
            send(app)
        other.execute("ROLLBACK")
    send(app)
    with Witness(f"sqlite:///{file}") as witness:
        holds(witness, 2)


def test_a_file_that_is_removed_is_made_again(open_app, file) -> None:
    app = open_app(f"sqlite:///{file}")
    send(app)
    for path in file.parent.glob("celeriac.db*"):
        if path.is_file():
            path.unlink()
    send(app)
    with Witness(f"sqlite:///{file}") as witness:
        holds(witness, 1)


def test_a_folder_that_is_not_there(open_app, tmp_path) -> None:
    with raises(ConnectionLost):
        send(open_app(f"sqlite:///{tmp_path}/nowhere/celeriac.db"))


def test_a_file_that_is_no_database(open_app, file) -> None:
    file.write_bytes(b"no database at all" * 1000)
    with raises(AccessRefused):
        send(open_app(f"sqlite:///{file}"))
