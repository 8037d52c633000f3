"""The proxy itself: what each fault does to links that exist, to new ones, and after it is healed."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

import pytest

from celeriac.testing import FaultProxy

SOON = 5.0
QUIET = 0.15


@pytest.fixture
def heard():
    return []


@pytest.fixture
def echo(heard):
    """The URL of a server that says everything again, and says the end again too."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                heard.append(data)
                connection.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=answer, args=(connection,), daemon=True))
                threads[-1].start()

    threads = [threading.Thread(target=serve, daemon=True)]
    threads[0].start()
    yield f"echo://user:secret@127.0.0.1:{listener.getsockname()[1]}/path?option=1"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive(), "a link was left open"


@pytest.fixture
def proxy(echo):
    with FaultProxy(echo) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy):
    with contextlib.ExitStack() as stack:

        def connect() -> socket.socket:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON))
            client.settimeout(SOON)
            return client

        yield connect


def says(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return hears(client, len(data))


def hears(client: socket.socket, size: int) -> bytes:
    heard = b""
    while len(heard) < size:
        more = client.recv(65536)
        if not more:
            break
        heard += more
    return heard


def hears_nothing(client: socket.socket) -> None:
    client.settimeout(QUIET)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(SOON)


def until(condition) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_takes_the_place_of_the_address_in_a_url(proxy, echo):
    assert proxy.url(echo) == f"echo://user:secret@127.0.0.1:{proxy.port}/path?option=1"
    assert proxy.url("amqp://host/%2F") == f"amqp://127.0.0.1:{proxy.port}/%2F"


@pytest.mark.parametrize("target", ["localhost", "amqp://localhost", "//:5"])
def test_a_target_without_an_address_is_refused(target):
    with pytest.raises(ValueError, match="a host and a port"):
        FaultProxy(target)


def test_everything_passes_in_order_and_so_does_the_end(proxy, connect):
    client = connect()
    sent = bytes(range(256)) * 20_000
    threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)), daemon=True).start()
    assert hears(client, len(sent) + 1) == sent
    assert client.recv(1) == b""
    until(lambda: proxy.links == 0)


def test_a_target_that_is_away_is_a_reset():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        target = f"tcp://127.0.0.1:{gone.getsockname()[1]}"
    with (
        FaultProxy(target) as proxy,
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON) as client,
    ):
        client.recv(1)


def test_leaving_resets_every_link(echo):
    with FaultProxy(echo) as proxy:
        client = socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON)
        assert says(client, b"hello") == b"hello"
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=SOON)


def test_latency_delays_without_slowing(proxy, connect):
    client = connect()
    proxy.latency(0.1)
    begun = time.monotonic()
    sent = b"x" * 1_000_000
    threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
    assert hears(client, len(sent)) == sent
    assert 0.2 <= time.monotonic() - begun < 2.0
    proxy.heal()
    begun = time.monotonic()
    assert says(client, b"y") == b"y"
    assert time.monotonic() - begun < 0.1


def test_drip(proxy, connect):
    client = connect()
    proxy.drip(2_000)
    begun = time.monotonic()
    assert says(client, b"x" * 1_000) == b"x" * 1_000
    assert 0.4 <= time.monotonic() - begun < 2.0
    client.sendall(b"z" * 100_000)
    some = len(hears(client, 100))
    assert some < 50_000
    proxy.heal()
    assert len(hears(client, 100_000 - some)) == 100_000 - some


def test_reset_of_existing_links_alone(proxy, connect):
    client = connect()
    assert says(client, b"hello") == b"hello"
    proxy.reset(new=False)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert says(connect(), b"again") == b"again"


def test_reset_of_new_connections_too(proxy, connect):
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        connect().recv(1)
    proxy.heal()
    assert says(connect(), b"again") == b"again"


def test_refuse(proxy, connect):
    client = connect()
    assert says(client, b"hello") == b"hello"
    for _ in range(2):
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    proxy.heal()
    assert says(connect(), b"again") == b"again"


def test_a_black_hole_swallows_bytes_and_gives_them_back_when_healed(proxy, connect):
    client = connect()
    assert says(client, b"hello") == b"hello"
    proxy.blackhole()
    client.sendall(b"lost?")
    hears_nothing(client)
    newcomer = connect()
    newcomer.sendall(b"anyone?")
    hears_nothing(newcomer)
    proxy.heal()
    assert hears(client, 5) == b"lost?"
    with pytest.raises(ConnectionResetError):
        newcomer.recv(1)


def test_neither_side_of_a_half_open_link_learns_of_the_other_s_end(proxy, connect):
    client = connect()
    assert says(client, b"hello") == b"hello"
    proxy.blackhole(new=False)
    client.close()
    other = connect()
    assert says(other, b"again") == b"again", "new links pass"
    assert proxy.links == 2, "the target still has the link whose client is gone"
    proxy.heal()
    until(lambda: proxy.links == 1)


def test_silent(proxy, connect):
    client = connect()
    assert says(client, b"hello") == b"hello"
    proxy.silent()
    newcomer = connect()
    newcomer.sendall(b"anyone?" * 10_000)
    hears_nothing(newcomer)
    assert says(client, b"still") == b"still"
    assert proxy.links == 1
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        newcomer.recv(1)


def test_one_fault_replaces_another(proxy, connect):
    client = connect()
    assert says(client, b"hello") == b"hello"
    proxy.blackhole()
    proxy.drip(10_000)
    assert says(client, b"x" * 500) == b"x" * 500
    proxy.refuse()
    proxy.silent()
    hears_nothing(connect())


@pytest.mark.parametrize("turn", range(20))
def test_what_a_sender_had_sent_dies_with_it_in_a_black_hole(proxy, connect, heard, turn):
    client = connect()
    assert says(client, b"hello") == b"hello"
    proxy.blackhole(new=False)
    client.sendall(b"never")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    proxy.heal()
    until(lambda: proxy.links == 0)
    assert heard == [b"hello"]
