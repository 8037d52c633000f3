"""A Redis server of the tests' own, in a folder of its own on a free port: to be frozen, killed, started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path
from shutil import which
from tempfile import gettempdir
from typing import TYPE_CHECKING, Self

import redis

if TYPE_CHECKING:
    from types import TracebackType

PROGRAM = which("redis-server") or which("valkey-server")
EMPTY = '""'
PATIENCE = 20.0  # seconds in which a server is up


class RedisServer:
    """One server process; as a context manager it is started, and killed at the end.

    Attributes:
        port: where it listens, from the beginning to the end.
        url: the database 0, with the password.
        folder: its data, its log and its Unix socket.
        path: the Unix socket.
    """

    def __init__(
        self,
        folder: Path,
        *,
        appendonly: bool = False,
        password: str | None = None,
        replica_of: RedisServer | None = None,
        **settings: str,
    ) -> None:
        """Keep how it shall be.

        Args:
            folder: of this server alone; made if need be.
            appendonly: write every command to the disk before it is answered, so that a kill loses nothing that was
                answered; otherwise nothing is ever written.
            password: what clients must say.
            replica_of: whose copy it shall be.
            settings: more of its configuration, ``_`` for ``-``: ``maxmemory_policy="allkeys-lru"``.
        """
        assert PROGRAM is not None, "redis-server is not installed"
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port, self.password = folder, free_port(), password
        self.path = Path(gettempdir()) / f"celeriac-{self.port}.sock"  # a socket's path has at most 107 bytes
        self._program = PROGRAM
        self._settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.path),
            "dir": str(folder),
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "always",
            "enable-debug-command": "yes",
            **({"requirepass": password, "masterauth": password} if password else {}),
            **({"replicaof": f"127.0.0.1 {replica_of.port}"} if replica_of else {}),
            **({"masterauth": replica_of.password} if replica_of and replica_of.password else {}),
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }

    @property
    def url(self) -> str:
        """Where it is."""
        return self.url_as(f":{self.password}@" if self.password else "")

    def url_as(self, login: str) -> str:
        """Return its URL with ``login``, which ends with ``@``, or none."""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, with what it kept; return once it answers."""
        config = self.folder / "redis.conf"
        config.write_text("".join(f"{name} {value or EMPTY}\n" for name, value in self._settings.items()))
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([self._program, config], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill -9 it, if it runs."""
        self.process.kill()
        self.process.wait()
        self.path.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Stop it as a debugger would: its connections stay, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def client(self, **options: object) -> redis.Redis:
        """Return a blocking client of it; close it."""
        return redis.Redis(
            port=self.port, password=self.password, decode_responses=True, **{"socket_timeout": 5, **options}
        )

    def log(self) -> str:
        """Return what it has told of itself."""
        return (self.folder / "log").read_text()

    def say(self, *command: object) -> object:
        """Return what it answers to one command."""
        with self.client() as client:
            return client.execute_command(*command)

    def until_in_step(self) -> None:
        """Return once this replica has all that its master has."""
        deadline = time.monotonic() + PATIENCE
        with self.client() as client:
            while client.info("replication").get("master_link_status") != "up":
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with self.client(socket_timeout=1) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
