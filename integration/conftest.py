"""Which brokers the integration tests run against.

RabbitMQ: ``CELERIAC_TEST_AMQP_URL`` (a URL without a virtual host of its own use; one is made for the run where
``rabbitmqctl`` may), else whoever answers at localhost:5672, else a container where Docker answers, else the tests
are skipped and say why. With ``CELERIAC_REQUIRE_BROKERS=1`` such a skip is a failure.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import pytest

from celeriac import App

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL = "amqp://guest:guest@127.0.0.1:5672"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "amqp" in item.nodeid.partition("::")[0]:
        item.add_marker(pytest.mark.amqp)


@pytest.fixture(scope="session")
def amqp_broker() -> Iterator[str]:
    """The URL of a RabbitMQ, without a virtual host."""
    given = os.environ.get("CELERIAC_TEST_AMQP_URL")
    if given:
        yield given
    elif _answers("127.0.0.1", 5672):
        yield LOCAL
    else:
        yield from _container()


@pytest.fixture(scope="session")
def amqp_vhost(amqp_broker: str) -> Iterator[str]:
    """The URL of a virtual host that is this run's own, or of the broker's where none can be made."""
    name = f"celeriac-{uuid.uuid4().hex[:8]}"
    if not _is_local(amqp_broker) or not _rabbitmqctl("add_vhost", name):
        yield amqp_broker
        return
    user = urlsplit(amqp_broker).username or "guest"
    assert _rabbitmqctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
    yield with_vhost(amqp_broker, name)
    _rabbitmqctl("delete_vhost", name)


@pytest.fixture(scope="session")
def amqp_other_vhost(amqp_broker: str) -> Iterator[str]:
    """Another virtual host; skips where none can be made."""
    name = f"celeriac-other-{uuid.uuid4().hex[:8]}"
    if not _is_local(amqp_broker) or not _rabbitmqctl("add_vhost", name):
        unavailable("a second virtual host needs rabbitmqctl on the broker's machine")
    user = urlsplit(amqp_broker).username or "guest"
    assert _rabbitmqctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
    yield with_vhost(amqp_broker, name)
    _rabbitmqctl("delete_vhost", name)


def with_vhost(url: str, vhost: str) -> str:
    """Return ``url`` with another virtual host."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "/" + quote(vhost, safe=""), parts.query, ""))


def unavailable(why: str) -> None:
    """Skip, or fail where brokers are required."""
    if os.environ.get("CELERIAC_REQUIRE_BROKERS") == "1":
        pytest.fail(why)
    pytest.skip(why)


def _container() -> Iterator[str]:
    try:
        from testcontainers.rabbitmq import RabbitMqContainer

        container = RabbitMqContainer(os.environ.get("CELERIAC_TEST_RABBITMQ_IMAGE", "rabbitmq:4"))
        container.start()
    except Exception as error:  # noqa: BLE001 - no Docker shows in many ways, and each is the same to us
        unavailable(f"no RabbitMQ: nobody at localhost:5672, no CELERIAC_TEST_AMQP_URL, and no container ({error})")
        return
    try:
        port = container.get_exposed_port(5672)
        yield f"amqp://guest:guest@{container.get_container_host_ip()}:{port}"
    finally:
        container.stop()


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def _rabbitmqctl(*arguments: str) -> bool:
    program = shutil.which("rabbitmqctl")
    if program is None:
        return False
    return subprocess.run([program, "-q", *arguments], capture_output=True, check=False, timeout=60).returncode == 0


@pytest.fixture
def amqp_url(amqp_vhost: str) -> str:
    """The run's virtual host, without the queues that programs and their tests use."""
    app = App("fresh", broker=amqp_vhost, declare="never")
    connection = app.client.connection
    app.client.portal.run(connection.open())
    for name in ("celeriac", "celeriac.dead", "celery", "celery.dead"):
        app.client.portal.run(connection.transport.delete(name))
    app.close()
    return amqp_vhost
