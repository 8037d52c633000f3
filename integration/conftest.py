"""Which brokers the integration tests run against.

RabbitMQ: ``CELERIAC_TEST_AMQP_URL`` (a URL without a virtual host of its own use; one is made for the run where
``rabbitmqctl`` may), else whoever answers at localhost:5672, else a container where Docker answers, else the tests
are skipped and say why. With ``CELERIAC_REQUIRE_BROKERS=1`` such a skip is a failure.

Redis: ``CELERIAC_TEST_REDIS_URL``, else whoever answers at localhost:6379, else a container, in the same way. Each test
has a key prefix of its own there, and its keys are deleted afterwards. A server that is to be tormented is a process of
the test's own (`redis_server.RedisServer`).
"""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import pytest
import redis
from contained import contained, url_of
from redis_server import PROGRAM, RedisServer
from testcontainers.core.docker_client import DockerClient

from celeriac import App

if TYPE_CHECKING:
    from collections.abc import Iterator

RABBITMQ_PROGRAMS = Path("/usr/lib/rabbitmq/bin")  # not those in the PATH, which change to the user rabbitmq
LOCAL = "amqp://guest:guest@127.0.0.1:5672"
CELERY = ("celery[redis]==5.7.0", "msgpack", "backports.zstd; python_version < '3.14'")
CELERY_ENVIRONMENT = Path(__file__).parent.parent / ".bench" / "celery"
PREPARE = "bash integration/containers/prepare"
LOCAL_REDIS = "redis://127.0.0.1:6379/0"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for broker in ("amqp", "redis"):
            if broker in item.path.name:
                item.add_marker(broker)


@pytest.fixture(scope="session")
def amqp_broker() -> Iterator[str]:
    """The URL of a RabbitMQ, without a virtual host."""
    given = os.environ.get("CELERIAC_TEST_AMQP_URL")
    if given:
        yield given
    elif _answers("127.0.0.1", 5672):
        yield LOCAL
    else:
        yield from _container("rabbitmq", "nobody at localhost:5672, no CELERIAC_TEST_AMQP_URL")


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


@pytest.fixture(scope="session")
def redis_broker() -> Iterator[str]:
    """The URL of a database of a Redis."""
    given = os.environ.get("CELERIAC_TEST_REDIS_URL")
    if given:
        yield given
    elif _answers("127.0.0.1", 6379):
        yield LOCAL_REDIS
    else:
        yield from _container("redis", "nobody at localhost:6379, no CELERIAC_TEST_REDIS_URL")


@pytest.fixture
def redis_url(redis_broker: str) -> Iterator[str]:
    """The same, with a key prefix that is this test's own; whatever it leaves there is deleted."""
    prefix = f"celeriac-{uuid.uuid4().hex[:8]}:"
    yield with_prefix(redis_broker, prefix)
    with redis.Redis.from_url(redis_broker) as client:
        for key in client.scan_iter(f"{prefix}*", count=1000):
            client.delete(key)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server process of the test's own, without persistence."""
    require_redis_server()
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def celery_python() -> Path:
    """The Python of an environment with a real Celery, its Redis driver and its codecs; made at the first use."""
    python = CELERY_ENVIRONMENT / "bin" / "python"
    CELERY_ENVIRONMENT.parent.mkdir(exist_ok=True)
    with CELERY_ENVIRONMENT.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of one run may want it
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", CELERY_ENVIRONMENT], check=True)
        ready = "import celery, redis, msgpack; from kombu.compression import get_encoder; get_encoder('zstd')"
        if subprocess.run([python, "-c", ready], capture_output=True, check=False).returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", *CELERY], check=True)
    return python


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for ``localhost`` that signs itself, and its key."""
    folder = tmp_path / "certificate"
    folder.mkdir()
    return _certificate(folder)


def require_redis_server() -> None:
    """Skip, or fail where brokers are required, where no server can be started."""
    if PROGRAM is None:
        unavailable("a Redis of the tests' own needs redis-server or valkey-server in the PATH")


def with_prefix(url: str, prefix: str) -> str:
    """Return ``url`` with a key prefix."""
    return f"{url}{'&' if '?' in url else '?'}prefix={quote(prefix, safe='')}"


class AmqpNode:
    """A RabbitMQ node of the tests' own, that may be tormented; holds time out after 4 s there.

    Attributes:
        url: where it listens.
        tls_url: where it listens for TLS, with a certificate for ``localhost``.
        certificate: signs itself.
    """

    def __init__(self, folder: Path) -> None:
        port, tls_port, other = _free_ports(3)
        self.certificate, key = _certificate(folder)
        self.tls_url = f"amqps://guest:guest@localhost:{tls_port}"
        self.url = f"amqp://guest:guest@127.0.0.1:{port}"
        self.name = f"celeriac-{port}@localhost"
        self._folder = folder
        config = folder / "advanced.config"
        config.write_text(
            "[{rabbit,[{consumer_timeout,4000},{channel_tick_interval,1000},"
            "{dead_letter_worker_publisher_confirm_timeout,3000},"  # of a delay on its way while the node starts
            f'{{tcp_listeners,[{{"127.0.0.1",{port}}}]}},{{ssl_listeners,[{{"127.0.0.1",{tls_port}}}]}},'
            f'{{ssl_options,[{{certfile,"{self.certificate}"}},{{keyfile,"{key}"}}]}}]}}].'
        )
        self._environment = {
            **os.environ,
            "HOME": str(folder),  # where the node and its rabbitmqctl share a cookie
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(other),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(config),
            "RABBITMQ_CONFIG_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        }

    def control(self, *arguments: str) -> None:
        """Run rabbitmqctl on it."""
        command = [RABBITMQ_PROGRAMS / "rabbitmqctl", "-q", "-n", self.name, *arguments]
        ran = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, timeout=60)
        assert ran.returncode == 0, f"rabbitmqctl {arguments}: {ran.stderr}"

    def start(self) -> None:
        """Start it, with what it kept; return once it is up."""
        with (self._folder / "out").open("wb") as out:
            server = RABBITMQ_PROGRAMS / "rabbitmq-server"
            self._process = subprocess.Popen(
                [server], env=self._environment, stdout=out, stderr=out, start_new_session=True
            )
        while not (self._folder / "out").read_bytes().count(b"completed with"):
            assert self._process.poll() is None, (self._folder / "out").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill -9 it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="session")
def amqp_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AmqpNode]:
    """A node of our own; skips where RabbitMQ is not installed here."""
    if not RABBITMQ_PROGRAMS.exists():
        unavailable(f"a RabbitMQ node of the tests' own needs {RABBITMQ_PROGRAMS}")
    node = AmqpNode(tmp_path_factory.mktemp("rabbitmq"))
    try:
        node.start()
        yield node
    finally:
        node.kill()


def with_vhost(url: str, vhost: str) -> str:
    """Return ``url`` with another virtual host."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "/" + quote(vhost, safe=""), parts.query, ""))


def unavailable(why: str) -> None:
    """Skip, or fail where brokers are required."""
    if os.environ.get("CELERIAC_REQUIRE_BROKERS") == "1":
        pytest.fail(why)
    pytest.skip(why)


def containers() -> None:
    """Skip, or fail where brokers are required, where no container engine answers."""
    why = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # what asks in vain leaves its sockets to be collected
        try:
            client = DockerClient().client
            client.ping()
            client.close()
        except Exception as error:  # noqa: BLE001 - no engine shows in many ways, and each is the same to us
            why = str(error)
        gc.collect()
    if why is not None:
        unavailable(f"no containers, for no engine answers ({why}): start one, or {PREPARE} as root on a Debian")


def _container(broker: str, otherwise: str) -> Iterator[str]:
    try:
        container = contained(broker).start()
    except Exception as error:  # noqa: BLE001 - as above; and an image may be missing
        unavailable(f"no {broker}: {otherwise}, and no container ({error}); {PREPARE} makes one possible")
        return
    try:
        yield url_of(broker, container)
    finally:
        container.stop()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate),
        ],
        capture_output=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return certificate, key


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
