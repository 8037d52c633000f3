"""What RabbitMQ and the network do to a worker and a client that were well: both are well again, in bounded time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from conftest import with_vhost
from scene import BOUND, HEARTBEAT, Scene, client
from witness import Witness, until
from worker_process import WorkerProcess

from celeriac.errors import ConnectionLost, PublishUnconfirmed
from celeriac.testing import FaultProxy

if TYPE_CHECKING:
    from celeriac import App

USER = "celeriac-test"


@pytest.fixture(scope="module")
def scene(amqp_node, tmp_path_factory):
    path = tmp_path_factory.mktemp("faults") / "ran"
    path.touch()
    amqp_node.control("add_user", USER, "secret")
    amqp_node.control("set_permissions", USER, ".*", ".*", ".*")
    direct = amqp_node.url.replace("guest:guest", f"{USER}:secret")
    with FaultProxy(direct) as proxy:
        url = f"{proxy.url(direct)}?heartbeat={HEARTBEAT}"
        with WorkerProcess("sums", url, "-c", "1") as worker, client(url) as app:
            worker.ready()
            scene = Scene(amqp_node, proxy, worker, app, path)
            scene.is_well(time.monotonic(), "nothing")
            yield scene
            assert worker.terminate() == 0
            # nothing is held beyond consumer_timeout; while a killed server starts, a queue may not be there
            assert [each for each in worker.lines if "revocations" in each and "down or inaccessible" not in each] == []


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


def test_the_broker_closes_the_connections(scene) -> None:
    scene.node.control("close_all_connections", "for a test")
    scene.is_well(time.monotonic(), "closed by the broker")


def test_the_queue_is_deleted(scene) -> None:
    """The worker is sent a basic.cancel; the client's next message would be returned.

    What is delayed falls due once the queue is there again, sent before or after, though the client knows it as bound.
    """
    before = scene.send(scene.app, countdown=2)
    scene.node.control("delete_queue", "celeriac")
    scene.is_well(time.monotonic(), "queue deleted")
    after = scene.send(scene.app, countdown=1)
    until(lambda: {before, after} <= scene.ran(), 10)


def test_the_queue_is_deleted_and_made_again_at_once(scene) -> None:
    """RabbitMQ 3.10 forgets the worker's consumer then, without a word."""
    with client(scene.node.url) as other:
        other.client.portal.run(remake(other))
    scene.is_well(time.monotonic(), "queue remade")


async def remake(app: App) -> None:
    await app.client.connection.ready()
    async with app.client.connection.transport.control().scratch() as channel:
        await channel.call("queue_delete", "celeriac")
    await app.client.connection.declare_again()


@pytest.mark.parametrize("how", ["password", pytest.param("permissions", marks=pytest.mark.soak)])
def test_credentials_are_revoked_and_given_back(scene, how) -> None:
    seen = len(scene.worker.lines)
    if how == "password":
        scene.node.control("change_password", USER, "another")
    else:
        scene.node.control("clear_permissions", USER)
    scene.node.control("close_all_connections", "for a test")
    until(lambda: any("refused" in line for line in scene.worker.lines[seen:]))
    assert scene.try_to_send() is None
    if how == "password":
        scene.node.control("change_password", USER, "secret")
    else:
        scene.node.control("set_permissions", USER, ".*", ".*", ".*")
    scene.is_well(time.monotonic(), f"{how} revoked")
    assert not any("secret" in line for line in scene.worker.lines)


def test_the_server_is_killed_and_started(scene) -> None:
    with client(scene.node.url) as other:
        other.send_task("sums.note", (str(scene.path), "kept"), countdown=1)
    scene.node.kill()
    assert scene.try_to_send() is None
    scene.node.start()
    scene.is_well(time.monotonic(), "server killed")
    until(lambda: "kept" in scene.ran(), 10)


@pytest.mark.soak
def test_a_virtual_host_is_deleted_and_made_again(scene, amqp_node, tmp_path) -> None:
    """All that is declared is gone with it; the worker makes it anew, or ends with an error."""
    amqp_node.control("add_vhost", "brief")
    amqp_node.control("set_permissions", "-p", "brief", "guest", ".*", ".*", ".*")
    url = with_vhost(amqp_node.url, "brief")
    path = tmp_path / "ran"
    path.touch()
    with WorkerProcess("sums", url, "-c", "1") as worker:
        worker.ready()
        amqp_node.control("delete_vhost", "brief")
        worker.until("cannot reopen")
        amqp_node.control("add_vhost", "brief")
        amqp_node.control("set_permissions", "-p", "brief", "guest", ".*", ".*", ".*")
        with client(url) as app:
            until(lambda: sends(app, path), BOUND)
        until(lambda: "1" in path.read_text(), BOUND, lambda: "\n".join(worker.lines))
        with Witness(url) as witness:
            until(lambda: witness.ready() == 0)


def sends(app: App, path) -> bool:
    try:
        app.send_task("sums.note", (str(path), 1))
    except (ConnectionLost, PublishUnconfirmed):
        return False
    return True
