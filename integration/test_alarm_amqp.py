"""A worker that is told to stop while RabbitMQ, out of memory, takes nothing: it ends in time, and loses nothing."""

from __future__ import annotations

import time

import pytest
from conftest import with_vhost
from witness import Witness, until
from worker_process import WorkerProcess

from celeriac import App

PUBLISH_TIMEOUT = 5.0
SLACK = 3.0  # of a busy machine


@pytest.fixture
def url(amqp_node):
    amqp_node.control("add_vhost", "alarm")
    amqp_node.control("set_permissions", "-p", "alarm", "guest", ".*", ".*", ".*")
    yield with_vhost(amqp_node.url, "alarm")
    amqp_node.control("set_vm_memory_high_watermark", "0.4")
    amqp_node.control("delete_vhost", "alarm")


def test_a_worker_that_cannot_send_its_results_stops_in_time_and_its_tasks_go_back(amqp_node, url, tmp_path) -> None:
    path, gate = tmp_path / "held", tmp_path / "gate"
    app = App("client", broker=url)
    with WorkerProcess("sums", url, "-c", "1") as worker:
        worker.ready()
        app.send_task("sums.add", (1, 1)).get(timeout=10)  # the worker's sending connection is open
        waiting = app.send_task("sums.wait", (str(path), str(gate)))
        until(path.exists)
        amqp_node.control("set_vm_memory_high_watermark", "0.00001")
        gate.touch()
        worker.until(f"{waiting.id}] succeeded", 10)
        begun = time.monotonic()
        assert worker.terminate() == 0
        took = time.monotonic() - begun
        assert took < PUBLISH_TIMEOUT + SLACK, f"it took {took:.1f} s"
        print(f"stopped {took:.1f} s after TERM, under a memory alarm")
    amqp_node.control("set_vm_memory_high_watermark", "0.4")
    with Witness(url) as witness:
        until(lambda: witness.ready() == 1)
    with WorkerProcess("sums", url, "-c", "1", "--burst") as other:
        assert other.process.wait(30) == 0, "\n".join(other.lines)
    app.close()
