"""Brokers in containers, by the testcontainers library.

The images are ``CELERIAC_TEST_RABBITMQ_IMAGE`` and ``CELERIAC_TEST_REDIS_IMAGE``, else the official ones; where none
can be pulled, ``bash integration/containers/prepare`` makes them.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import time
import uuid
from contextlib import ExitStack
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Self

from docker.constants import DEFAULT_DOCKER_API_VERSION
from docker.types import EndpointConfig, IPAMConfig, IPAMPool
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from witness import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from docker.models.networks import Network as DockerNetwork

STARTED = {"rabbitmq": "Server startup complete", "redis": "Ready to accept connections"}
STARTING = 60  # seconds
PORTS = {"rabbitmq": 5672, "redis": 6379}
NAMES = ("one", "two", "three")
COOKIE = "celeriac"
ERLANG = (
    f"-setcookie {COOKIE} "
    "-kernel net_ticktime 8 "  # s, of silence after which a node is given up; 60 where nobody says otherwise
    "-kernel net_setuptime 1 "  # s, for a connection to a node; with 7, live nodes were given up beside the dead
    "-rabbit dead_letter_worker_publisher_confirm_timeout 3000"  # ms; 180,000 where nobody says otherwise
)
CLUSTER = f"""\
loopback_users.guest = false
cluster_formation.peer_discovery_backend = classic_config
{"".join(f"cluster_formation.classic_config.nodes.{n} = rabbit@{name}{chr(10)}" for n, name in enumerate(NAMES, 1))}\
cluster_partition_handling = pause_minority
"""


def image(broker: str) -> str:
    """Return the image of ``broker``, ``rabbitmq`` or ``redis``."""
    official = {"rabbitmq": "rabbitmq:4", "redis": "redis:7"}[broker]
    return os.environ.get(f"CELERIAC_TEST_{broker.upper()}_IMAGE", official)


def contained(broker: str) -> DockerContainer:
    """Return a container of ``broker`` that is to be entered; it is ready then."""
    container = DockerContainer(image(broker)).with_exposed_ports(PORTS[broker])
    return container.waiting_for(LogMessageWaitStrategy(STARTED[broker]).with_startup_timeout(STARTING))


def url_of(broker: str, container: DockerContainer) -> str:
    """Return the URL of a container that runs."""
    host, port = container.get_container_host_ip(), container.get_exposed_port(PORTS[broker])
    return f"amqp://guest:guest@{host}:{port}" if broker == "rabbitmq" else f"redis://{host}:{port}/0"


class Node:
    """One RabbitMQ of a cluster.

    Its container is on two networks, of which the nodes know each other on one alone: so a node can be cut off from the
    others while its clients still reach it, and believe it.

    Attributes:
        name: its host's, on the network of the nodes.
        url: for clients; the same after a restart.
    """

    def __init__(self, name: str, config: Path, network: str, hosts: Mapping[str, str]) -> None:
        self._port = _free_port()
        self.name = name
        self._network_name = network
        self._address = hosts[name]
        self._since = time.time()
        endpoint = EndpointConfig(DEFAULT_DOCKER_API_VERSION, ipv4_address=self._address)
        self._container = (
            DockerContainer(image("rabbitmq"))
            .with_kwargs(
                hostname=name,
                network=network,
                networking_config={network: endpoint},
                extra_hosts=dict(hosts),  # not by DNS: a name that is gone holds up a node for seconds, again and again
            )
            .with_bind_ports(PORTS["rabbitmq"], self._port)
            .with_env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG)
            .with_volume_mapping(str(config), "/etc/rabbitmq/conf.d/20-cluster.conf")
        )

    def create(self) -> None:
        """Let it start, beside the others: they wait for each other."""
        self._container.start()
        client = self._container.get_docker_client().client
        client.networks.get("bridge").connect(self._container.get_container_id())
        self.url = f"amqp://guest:guest@{self._container.get_container_host_ip()}:{self._port}"

    def started(self) -> None:
        """Return once it has started, for the first time or again."""
        self._says(STARTED["rabbitmq"])

    def remove(self) -> None:
        """End it, and what it kept."""
        self._container.stop()

    def control(self, *arguments: str, program: str = "rabbitmqctl") -> str:
        """Run rabbitmqctl in it, or a sister of it."""
        code, output = self._container.exec([program, "-q", "--erlang-cookie", COOKIE, *arguments])
        assert code == 0, f"{program} {arguments}: {output.decode()}"
        return output.decode()

    def said(self, since: float) -> str:
        """Return what it has logged since that moment, by this machine's clock."""
        logs: bytes = self._container.get_wrapped_container().logs(since=since)
        return logs.decode(errors="replace")

    # -- faults, each with its end

    def kill(self) -> None:
        """Kill -9 it."""
        self._container.get_wrapped_container().kill()

    def start(self) -> None:
        """Start it, with what it kept."""
        self._since = time.time()
        self._container.get_wrapped_container().start()

    def pause(self) -> None:
        """Freeze all its processes: its connections stay, and nobody answers on them."""
        self._since = time.time()
        self._container.get_wrapped_container().pause()

    def go_on(self) -> None:
        """Let it go on; it starts its broker again, once it has seen that the others have given it up."""
        self._container.get_wrapped_container().unpause()

    def cut_off(self) -> None:
        """Take it from the network of the nodes; its clients still reach it."""
        self._since = time.time()
        self._network().disconnect(self._container.get_container_id())

    def notice(self) -> None:
        """Return once it has noticed that it is in the minority, and serves no clients any more."""
        self._says(r"minority.* status detected")

    def join(self) -> None:
        """Give it back to that network; it starts its broker again, as `pause_minority` means."""
        self._since = time.time()
        self._network().connect(self._container.get_container_id(), ipv4_address=self._address)

    def _says(self, pattern: str) -> None:
        """Return once it has logged that since what was last done to it: it says the same at every such turn."""
        until(
            lambda: re.search(pattern, self.said(self._since)), STARTING, lambda: f"{self.name} did not say {pattern!r}"
        )

    def _network(self) -> DockerNetwork:
        return self._container.get_docker_client().client.networks.get(self._network_name)


class Cluster:
    """Three of them, as a context manager.

    Attributes:
        nodes: by the order of their URLs.
    """

    def __init__(self, folder: Path) -> None:
        self._config = folder / "cluster.conf"
        self._config.write_text(CLUSTER)
        self._config.chmod(0o644)  # whoever runs the broker in its container is another user
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            network, subnet = _own_network(stack)
            hosts = {name: str(subnet[10 + number]) for number, name in enumerate(NAMES)}
            self.nodes = [Node(name, self._config, network, hosts) for name in NAMES]
            for node in self.nodes:
                stack.callback(node.remove)
                node.create()
            for node in self.nodes:
                node.started()
            self.settle()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def urls(self, options: str = "") -> list[str]:
        """Return the URLs of all, with the same options."""
        return [f"{node.url}{options}" for node in self.nodes]

    def settle(self) -> None:
        """Return once all nodes know all the others, and none holds a queue that it could not leave."""
        for node in self.nodes:
            node.control("await_online_nodes", str(len(NAMES)))
        for node in self.nodes:
            node.control("await_online_quorum_plus_one", program="rabbitmq-upgrade")

    def at(self, port: int) -> Node:
        """Return the node whose clients come to ``port``."""
        return next(node for node in self.nodes if node.url.endswith(f":{port}"))


def _free_port() -> int:
    """Return a port below those that are given to whoever asks for any, so that it stays free until it is bound."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def _own_network(stack: ExitStack) -> tuple[str, IPv4Network]:
    """Make a network that leads nowhere, whose addresses may be chosen: the engine wants to be told the subnet then."""
    networks = DockerClient().client.networks
    found = networks.create(f"celeriac-{uuid.uuid4().hex[:8]}", internal=True)
    found.reload()
    subnet = found.attrs["IPAM"]["Config"][0]["Subnet"]
    found.remove()
    network = networks.create(found.name, internal=True, ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)]))
    stack.callback(network.remove)
    return network.name, IPv4Network(subnet)
