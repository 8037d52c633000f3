"""The brokers that are measured: a virtual host of RabbitMQ for us alone, and a Redis server of our own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from benchmarks import processes

if TYPE_CHECKING:
    from collections.abc import Iterable

VHOST = f"celeriac_bench_{os.getpid()}"
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672/"
PATIENCE = 10.0


class RabbitMQ:
    """A virtual host in which every queue that we name may be deleted.

    Attributes:
        url: of it.
        processes: those of the server, where it runs on this machine and we may look.
    """

    def __init__(self, url: str | None) -> None:
        """Use the virtual host of ``url``; without one, make `VHOST` on this machine's server."""
        self._own = url is None
        self.url = url or _with_vhost(RABBITMQ, VHOST)
        self.processes: list[int] = []

    def start(self) -> None:
        """Make the virtual host, if it is ours to make, and find the server."""
        if self._own:
            self._control("add_vhost", VHOST)
            self._control("set_permissions", "-p", VHOST, urlsplit(self.url).username or "guest", ".*", ".*", ".*")
        port = urlsplit(self.url).port or 5672
        self.processes = processes.listening(port) or processes.named("beam.smp")

    def stop(self) -> None:
        """Delete the virtual host, if it was ours to make."""
        if self._own:
            self._control("delete_vhost", VHOST, check=False)

    def clean(self, queues: Iterable[str]) -> None:
        """Delete ``queues``, and the queues in which celeriac's delayed messages wait."""
        import pika  # noqa: PLC0415 - celeriac's own extra; whoever measures no RabbitMQ needs none

        names = [*queues, *(f"celeriac_delayed_{level}" for level in range(28))]
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        with contextlib.closing(connection), contextlib.closing(connection.channel()) as channel:
            for name in names:
                channel.queue_delete(name)

    @property
    def version(self) -> str:
        """As it tells of itself."""
        import pika  # noqa: PLC0415

        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(self.url))) as connection:
            return f"RabbitMQ {connection._impl.server_properties['version']}"  # noqa: SLF001 - pika has no other way

    def _control(self, *command: str, check: bool = True) -> None:
        subprocess.run(["rabbitmqctl", "-q", *command], check=check, capture_output=True)


class Redis:
    """A server process of our own, on a free port, that writes nothing to disk."""

    def __init__(self) -> None:
        """Start nothing."""
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._port = 0

    def start(self) -> None:
        """Start it; returns when it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._folder = tempfile.TemporaryDirectory(prefix="bench-redis-")
        command = ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._server = subprocess.Popen([*command, "--dir", self._folder.name], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._ask(b"PING")
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it."""
        if self._server is not None and self._folder is not None:
            self._server.terminate()
            self._server.wait()
            self._folder.cleanup()

    def clean(self) -> None:
        """Empty it."""
        self._ask(b"FLUSHALL")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def processes(self) -> list[int]:
        """Its process."""
        return [] if self._server is None else [self._server.pid]

    @property
    def version(self) -> str:
        """As it tells of itself."""
        info = self._ask(b"INFO server")
        number = next(line for line in info.splitlines() if line.startswith("redis_version:"))
        return f"Redis {number.partition(':')[2]}"

    def _ask(self, command: bytes) -> str:
        with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE) as link:
            link.sendall(command + b"\r\n")
            return link.recv(65536).decode()


def redis_missing() -> str | None:
    """Return why there can be no Redis of our own."""
    return None if shutil.which("redis-server") else "redis-server is not installed"


def _with_vhost(url: str, vhost: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(vhost, safe='')}"))
