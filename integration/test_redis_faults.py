"""What Redis and the network do to a worker and a client that were well: both are well again, in bounded time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from conftest import require_redis_server
from redis_server import RedisServer, Sentinel
from scene import BOUND, HEARTBEAT, Scene, client
from witness import until
from worker_process import WorkerProcess

from celeriac.errors import ConnectionLost, PublishUnconfirmed
from celeriac.testing import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celeriac import App


PASSWORD = "open-sesame"  # noqa: S105 - of a server that lives as long as its test


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    require_redis_server()
    folder = tmp_path_factory.mktemp("faults")
    path = folder / "ran"
    path.touch()
    server = RedisServer(folder / "redis", appendonly=True, password=PASSWORD)
    with server, FaultProxy(server.url) as proxy:
        url = f"{proxy.url(server.url)}?heartbeat={HEARTBEAT}&lease=3"
        with WorkerProcess("sums", url, "-c", "1") as worker, client(url) as app:
            worker.ready()
            scene = Scene(server, proxy, worker, app, path)
            scene.is_well(time.monotonic(), "nothing")
            yield scene
            assert worker.terminate() == 0
            assert not any(PASSWORD in line for line in worker.lines)


def test_reset(scene) -> None:
    scene.proxy.reset(new=False)
    scene.is_well(time.monotonic(), "RST")


def test_half_open(scene) -> None:
    scene.proxy.blackhole(new=False)
    begun = time.monotonic()
    assert scene.try_to_send() is None
    scene.is_well(begun, "half open")
    scene.proxy.heal()


@pytest.mark.soak
def test_a_network_that_is_gone_for_a_while(scene) -> None:
    seen = len(scene.worker.lines)
    scene.proxy.blackhole()
    assert scene.try_to_send() is None
    until(lambda: any("cannot reopen" in line for line in scene.worker.lines[seen:]))
    scene.proxy.heal()
    scene.is_well(time.monotonic(), "black hole")


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_the_server_closes_the_connections(scene, kind) -> None:
    scene.node.say("CLIENT", "KILL", "TYPE", kind)
    scene.is_well(time.monotonic(), f"CLIENT KILL TYPE {kind}")


@pytest.mark.parametrize("seconds", [1.0, 3 * HEARTBEAT])
def test_the_server_is_blocked(scene, seconds) -> None:
    """Shorter than a heartbeat it is waited for; longer it is given up, and taken again."""
    blocked = threading.Thread(
        target=lambda: scene.node.client(socket_timeout=60).execute_command("DEBUG", "SLEEP", seconds)
    )
    blocked.start()
    time.sleep(0.2)  # it is asleep: whoever asked would wait with it
    begun = time.monotonic()
    scene.try_to_send()
    blocked.join()
    scene.is_well(max(begun, time.monotonic()), f"blocked for {seconds:g} s")


def test_the_server_becomes_a_replica_for_a_while(scene) -> None:
    """As a failover does it: writes are refused, until it is the master again."""
    seen = len(scene.worker.lines)
    scene.node.say("REPLICAOF", "127.0.0.1", "1")
    until(lambda: any("replica" in line for line in scene.worker.lines[seen:]), BOUND)
    assert scene.try_to_send() is None
    scene.node.say("REPLICAOF", "NO", "ONE")
    scene.is_well(time.monotonic(), "READONLY")


def test_the_password_is_changed_and_changed_back(scene) -> None:
    seen = len(scene.worker.lines)
    scene.node.say("CONFIG", "SET", "requirepass", "another")
    scene.node.password = "another"  # noqa: S105 - of a server that lives as long as its test
    scene.node.say("CLIENT", "KILL", "TYPE", "normal")
    until(lambda: any("refused" in line for line in scene.worker.lines[seen:]), BOUND)
    assert scene.try_to_send() is None
    scene.node.say("CONFIG", "SET", "requirepass", PASSWORD)
    scene.node.password = PASSWORD
    scene.is_well(time.monotonic(), "password changed")


def test_the_queue_is_deleted(scene) -> None:
    with client(scene.node.url) as other:
        other.client.portal.run(other.client.connection.open())
        other.client.portal.run(other.client.connection.transport.delete("celeriac"))
    scene.is_well(time.monotonic(), "queue deleted")


def test_everything_is_deleted(scene) -> None:
    scene.node.say("FLUSHALL")
    scene.is_well(time.monotonic(), "FLUSHALL")


def test_the_scripts_are_forgotten(scene) -> None:
    scene.node.say("SCRIPT", "FLUSH")
    scene.is_well(time.monotonic(), "SCRIPT FLUSH")


def test_the_server_is_killed_and_started(scene) -> None:
    """It writes each command to the disk before it answers: what was confirmed is there."""
    with client(scene.node.url) as other:
        other.send_task("sums.note", (str(scene.path), "kept"), countdown=1)
    scene.node.kill()
    assert scene.try_to_send() is None
    scene.node.start()
    scene.is_well(time.monotonic(), "server killed")
    until(lambda: "kept" in scene.ran(), 10)


# -- a failover


@pytest.mark.timeout(120)
def test_a_failover_by_sentinel(tmp_path) -> None:
    """The master is killed, its replica promoted: worker and client go there, with all that had been copied."""
    require_redis_server()
    path = tmp_path / "ran"
    path.touch()
    with RedisServer(tmp_path / "one") as master, RedisServer(tmp_path / "two", replica_of=master) as replica:
        replica.until_in_step()
        with Sentinel(tmp_path / "sentinel", master) as sentinel:
            until(lambda: "127.0.0.1" in str(sentinel.say("SENTINEL", "REPLICAS", "main")))
            url = f"sentinel://127.0.0.1:{sentinel.port}/main?db=0&heartbeat={HEARTBEAT}&lease=3"
            with WorkerProcess("sums", url, "-c", "1") as worker, client(url) as app:
                worker.ready()
                app.send_task("sums.note", (str(path), "before"))
                until(lambda: "before" in path.read_text())
                app.send_task("sums.note", (str(path), "kept"), countdown=3)
                assert master.say("WAIT", 1, 5000) == 1
                master.kill()
                killed = time.monotonic()
                sent: list[bool] = []
                until(lambda: sent.append(_sends(app, path)) or sent[-1], 30, lambda: "\n".join(worker.lines))
                until(lambda: "after" in path.read_text(), 30, lambda: "\n".join(worker.lines))
                print(f"failover: a task started {time.monotonic() - killed:.1f} s after the master's death")
                until(lambda: "kept" in path.read_text(), 10)
                assert worker.terminate() == 0


def _sends(app: App, path: Path) -> bool:
    try:
        app.send_task("sums.note", (str(path), "after"))
    except (ConnectionLost, PublishUnconfirmed):
        return False
    return True
