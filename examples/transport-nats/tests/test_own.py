"""What is NATS's own: beyond the contract, and under a server that is killed."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime, timedelta
from socket import SO_LINGER, SOL_SOCKET

import pytest
from nats.js.api import DiscardPolicy

from celeriac.clock import SystemClock
from celeriac.errors import (
    AccessRefused,
    ConfigurationError,
    ConnectionLost,
    MessageTooLarge,
    TopologyMismatch,
    TransportError,
)
from celeriac.message import Message, Outcome, Settlement
from celeriac.topology import Queue, Topology
from celeriac_nats.address import parse
from celeriac_nats.names import token
from celeriac_nats.transport import NatsTransport
from celeriac_nats.wire import Kept, unpack

QUEUE = Queue("own")


class Curt:
    """Refuses everybody, as a server whose hanging up overtakes what it said: only who asks and waits reads why."""

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._refuse, "127.0.0.1", 0)
        return f"nats://kit:wrong@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_error):
        self._server.close()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"auth_required": true}\r\n')
        if b'"verbose": true' in await reader.readline():
            writer.write(b"-ERR 'Authorization Violation'\r\n")
            await reader.read()
        else:
            writer.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


class Opened:
    """A transport that is open while the block lasts; notes what `on_lost` is told."""

    def __init__(self, url: str) -> None:
        self.lost = asyncio.Event()
        self.transport = NatsTransport([url], clock=SystemClock(), on_lost=lambda _error: self.lost.set())

    async def __aenter__(self):
        await self.transport.open()
        await self.transport.declare(Topology.of([QUEUE]))
        return self.transport

    async def __aexit__(self, *_error):
        await self.transport.close()


def to_own(name: str, **fields) -> Message:
    return Message(**{"id": name, "routing_key": QUEUE.name, "body": name.encode(), **fields})


async def drained(transport: NatsTransport, count: int, within: float = 15) -> list[str]:
    """Return the ids of ``count`` deliveries, acknowledged."""
    found = []
    async with asyncio.timeout(within), transport.consume([QUEUE.name], prefetch=100) as consumer:
        while len(found) < count:
            deliveries = await consumer.receive(100, 1)
            found += [delivery.message.id for delivery in deliveries]
            await consumer.settle([Settlement(delivery.token) for delivery in deliveries])
    return found


def test_what_is_sent_again_is_kept_once(nats_server):
    """As the core does where a confirm did not come; another message of that id, a retry say, is another one."""

    async def body():
        async with Opened(f"{nats_server.url}/again") as transport:
            first, retry = to_own("a"), to_own("a", headers={"retries": 1})
            for message in (first, first, retry):
                (receipt,) = await transport.publish([message])
                assert receipt.outcome is Outcome.CONFIRMED
            assert (await transport.depth(QUEUE.name)).ready == 2

    asyncio.run(body())


def test_what_the_stream_refuses_is_nacked_at_once(nats_server):
    """And harms no other message of the call."""

    async def body():
        async with Opened(f"{nats_server.url}/full") as transport:
            link = transport._office.link
            config = (await link.js.stream_info(link.names.stream(QUEUE.name))).config
            config.max_msgs, config.discard = 2, DiscardPolicy.NEW
            await link.js.update_stream(config)
            async with asyncio.timeout(5):
                receipts = await transport.publish([to_own(str(number)) for number in range(4)])
            assert [receipt.outcome.name for receipt in receipts] == ["CONFIRMED", "CONFIRMED", "NACKED", "NACKED"]
            assert "maximum messages" in receipts[2].detail

    asyncio.run(body())


def test_a_server_killed_and_started_keeps_all(tmp_path, server_in):
    """What was confirmed, what waits for its moment, what is revoked and what is paused."""
    server = server_in(tmp_path)
    url = f"{server.url}/killed?lease=2"

    async def body():
        opened = Opened(url)
        async with opened as transport:
            soon = datetime.now(UTC) + timedelta(seconds=2)
            sent = [to_own(f"now{n}") for n in range(100)] + [to_own(f"soon{n}", not_before=soon) for n in range(20)]
            assert all(receipt.ok for receipt in await transport.publish(sent))
            await transport.revoke(["r"], soon + timedelta(hours=1))
            await transport.pause("paused")
            async with transport.consume([QUEUE.name], prefetch=10) as consumer:
                assert await consumer.receive(10, 5)
                server.kill()
                with pytest.raises(ConnectionLost):
                    await asyncio.gather(*(consumer.receive(10, 1) for _ in range(3)))
                await opened.lost.wait()
            with pytest.raises(ConnectionLost):
                await transport.open()
            server.start()
            await transport.open()
            async with transport.revoked() as revoked:
                assert revoked.known == {"r"}
            assert set(await drained(transport, len(sent))) == {message.id for message in sent}
            assert transport._office.catalog.paused == {"paused"}

    asyncio.run(body())


def test_one_server_of_several_is_enough(nats_server, nobody_port):
    """Those that cannot be reached end nothing."""

    async def body():
        lost = asyncio.Event()
        urls = [f"nats://kit:secret@127.0.0.1:{nobody_port}", nats_server.url]
        transport = NatsTransport(urls, clock=SystemClock(), on_lost=lambda _error: lost.set())
        await transport.open()
        await transport.declare(Topology.of([QUEUE]))
        await transport.close()
        assert not lost.is_set()

    asyncio.run(body())


def test_a_refusal_is_heard_where_the_server_hangs_up_at_once():
    async def body():
        async with Curt() as url:
            with pytest.raises(AccessRefused, match="Authorization"):
                await Opened(url).transport.open()

    asyncio.run(body())


def test_a_server_without_jetstream_says_what_to_change(tmp_path, server_in):
    """And leaves nothing open."""

    async def body():
        opened = Opened(server_in(tmp_path, jetstream=False).url)
        with pytest.raises(TransportError, match="nats-server -js"):
            await opened.transport.open()
        await opened.transport.close()
        assert not opened.lost.is_set()

    asyncio.run(body())


def test_a_foreign_message_in_a_stream_stops_nobody(nats_server, caplog):
    """It is logged and left; what is behind it is delivered."""

    async def body():
        async with Opened(f"{nats_server.url}/foreign") as transport:
            link = transport._office.link
            await link.js.publish(link.names.subject(QUEUE.name, "ready"), b"not ours")
            await link.js.publish(link.names.subject(QUEUE.name, "later"), b"not ours either")
            soon = datetime.now(UTC) + timedelta(seconds=0.5)
            await transport.publish([to_own("ours"), to_own("later", not_before=soon)])
            assert [message.id for message in await transport.peek(QUEUE.name, 10)] == ["ours"]
            assert await drained(transport, 2) == ["ours", "later"]

    asyncio.run(body())
    assert caplog.text.count("is none of ours") >= 3  # seen by peek, by the consumer, and where it waits for its moment


def test_another_lease_is_refused_by_the_queue_s_name(nats_server):
    async def body():
        async with Opened(f"{nats_server.url}/leases?lease=20"):
            other = Opened(f"{nats_server.url}/leases?lease=10").transport
            await other.open()
            with pytest.raises(TopologyMismatch, match="'own' was declared with a lease of 20 s, not 10"):
                await other.declare(Topology.of([QUEUE]))
            await other.close()

    asyncio.run(body())


def test_a_large_message_is_refused_with_what_to_change(nats_server):
    async def body():
        async with Opened(f"{nats_server.url}/large") as transport:
            with pytest.raises(MessageTooLarge, match="raise its max_payload"):
                await transport.publish([to_own("small"), to_own("large", body=b"x" * 5_000_000)])
            assert (await transport.depth(QUEUE.name)).ready == 0

    asyncio.run(body())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nats:///space", "has no host"),
        ("nats://host/a.b", "namespace 'a.b'"),
        ("nats://host:port", "Port could not be cast"),
        ("nats://host?lease=0.1", "1 or more"),
        ("nats://host?lease=nan", "1 or more"),
        ("nats://host?replicas=2", "1, 3 or 5"),
        ("nats://user:open-sesame@host?laese=3", "did you mean 'lease'"),
    ],
)
def test_a_url_that_cannot_work(url, said):
    with pytest.raises(ConfigurationError, match=said) as raised:
        parse([url])
    assert "open-sesame" not in str(raised.value)


def test_addresses_of_one_cluster():
    address = parse(["nats://a:secret@one", "nats://a:secret@two:4333"])
    assert address.servers == ["nats://a:secret@one:4222", "nats://a:secret@two:4333"]
    assert "secret" not in address.shown
    for odd in ("nats://two/other", "nats+tls://two", "nats://two?lease=3"):
        with pytest.raises(ConfigurationError, match="addresses of one cluster"):
            parse(["nats://one", odd])


def test_every_name_is_one_word_and_no_other_s():
    names = ["plain", "a.b", "a_b", "a b", "a>b", "a*b", "ž" * 100, "x" * 200, "=", "a_b=1", ""]
    words = [token(name) for name in names]
    assert words[0] == "plain"
    assert len(set(words)) == len(names)
    assert all(len(word) <= 100 and not set(word) & set(".*> /\\") for word in words)


def test_a_payload_is_a_line_of_json_and_the_body():
    due = datetime(2030, 1, 2, tzinfo=UTC)
    kept = Kept(to_own("a", headers={"n": None, "b": b"\xff", "l": [1.5, True]}, body=b"\n\x00\n"), returns=3, due=due)
    payload = kept.pack()
    assert payload.endswith(b"\n\n\x00\n")
    assert unpack(payload) == kept
    for broken in (b"", b"\n", b"{}\n", b"[]\n", b"5\nx", b"\xff\n", b'{"due": 5, "message": {}, "returns": 0}\n'):
        with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
            unpack(broken)
