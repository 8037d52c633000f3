"""A nats-server of the tests' own, with a password and JetStream, in a temporary folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAM = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin")


class NatsServer:
    """One process, which can be killed and started again with what it kept.

    Attributes:
        port: where it listens, on 127.0.0.1.
        url: the same, with user and password.
    """

    def __init__(self, folder: Path, *, jetstream: bool = True) -> None:
        self.port = free_port()
        self.url = f"nats://kit:secret@127.0.0.1:{self.port}"
        self._folder = folder
        settings = [
            f"listen: 127.0.0.1:{self.port}",
            "max_payload: 4MB",
            "authorization { user: kit, password: secret }",
        ]
        settings += [f'jetstream {{ store_dir: "{folder}" }}'] * jetstream
        (folder / "nats.conf").write_text("\n".join(settings))

    def start(self) -> None:
        """Start it; return once it answers."""
        command = [PROGRAM, "-c", str(self._folder / "nats.conf"), "-l", str(self._folder / "log")]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + 20
        while not answers(self.port):
            assert self._process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "nats-server does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill -9 it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """The server of this run; skips where nats-server is not installed."""
    if PROGRAM is None:
        pytest.skip("there is no nats-server here")
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server_in(nats_server: NatsServer) -> Iterator[Callable[..., NatsServer]]:
    """Make one more server, for a test that kills it or wants it otherwise."""
    del nats_server  # it has skipped us where there is no program
    servers: list[NatsServer] = []

    def start(folder: Path, **options: bool) -> NatsServer:
        servers.append(NatsServer(folder, **options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def nobody_port() -> int:
    """A port where nobody listens."""
    return free_port()


def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
