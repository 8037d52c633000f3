"""The HTTP responder alone: what it answers, and what clients may do to it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace

import pytest

from celeriac.clock import SystemClock
from celeriac.errors import ConfigurationError
from celeriac.testing import VirtualClock
from celeriac.worker import probes as module
from celeriac.worker.health import RUNNING, Health
from celeriac.worker.probes import Probes, probes

WELL = Health(node="w@h", pid=1, beat=0.0, phase=RUNNING, connected=True, consuming=True, checked=0.0)


@dataclass
class Reporter:
    health: Health
    port: int | None = None


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /live HTTP/1.1", 200),
        (b"GET /ready HTTP/1.0", 200),
        (b"GET /ready?x=1 HTTP/1.1", 200),
        (b"HEAD /live HTTP/1.1", 405),
        (b"POST /ready HTTP/1.1", 405),
        (b"GET / HTTP/1.1", 404),
        (b"GET /live/ HTTP/1.1", 404),
        (b"GET", 404),
        (b"", 404),
        (b"\xff\xfe\x00 /\xff", 404),
    ],
)
def test_requests(request_line, status):
    clock = VirtualClock()
    reporter = Reporter(replace(WELL, beat=clock.monotonic(), checked=clock.monotonic()))
    head, _, body = Probes(reporter, clock).respond(request_line + b"\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert (json.loads(body)["problems"] == []) is (status == 200)
    assert (b"Allow: GET" in head) is (status == 405)


async def ask(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_bad_clients_are_hung_up_on_and_harm_no_other(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)

    async def use():
        reporter = Reporter(WELL)
        async with probes(reporter, 0, SystemClock()):
            silent = [await asyncio.open_connection("127.0.0.1", reporter.port) for _ in range(20)]
            assert await ask(reporter.port, b"GET /live HTTP/1.1\r\n") == b""
            assert await ask(reporter.port, b"x" * 100_000) == b""
            answers = await asyncio.gather(*(ask(reporter.port, b"GET /live HTTP/1.1\r\n\r\n") for _ in range(20)))
            assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)  # its beat is long ago
            for reader, writer in silent:
                assert await reader.read() == b""
                writer.close()

    asyncio.run(use())


def test_a_client_that_is_still_there_at_the_end(caplog):
    async def use():
        reporter = Reporter(WELL)
        async with probes(reporter, 0, SystemClock()):
            _, writer = await asyncio.open_connection("127.0.0.1", reporter.port)
            writer.write(b"GET /live")
            assert await ask(reporter.port, b"GET /live HTTP/1.1\r\n\r\n")  # the other one is being read by now
        writer.close()

    asyncio.run(use())
    assert not caplog.records


def test_a_port_that_cannot_be_had():
    async def use():
        first, second = Reporter(WELL), Reporter(WELL)
        async with probes(first, 0, SystemClock()):
            with pytest.raises(ConfigurationError, match=f"--health-port {first.port}: "):
                async with probes(second, first.port, SystemClock()):
                    pass
        async with probes(second, None, SystemClock()):
            assert second.port is None

    asyncio.run(use())
