"""A second process for the clauses that speak of one: consumes and holds, publishes, or signals.

Run as ``python -m celeriac.testing.conformance.child``; told what to do by one line of JSON on its standard input (a
URL may hold a password, and a command line is for everyone to read).
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from celeriac.clock import SystemClock
from celeriac.message import Message
from celeriac.testing.conformance.case import patience

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.errors import TransportError
    from celeriac.transport import Transport


class Child:
    """The parent's end."""

    def __init__(self, transport_class: type[Transport], urls: Sequence[str], order: str, name: str) -> None:
        """Start a process that opens a transport of its own and follows ``order``."""
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            text=True,
        )
        self._order = {
            "module": transport_class.__module__,
            "class": transport_class.__qualname__,
            "urls": list(urls),
            "order": order,
            "name": name,
        }

    async def start(self) -> None:
        """Say what is to be done."""
        await self.tell(json.dumps(self._order))

    async def tell(self, line: str) -> None:
        """Write a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    async def says(self) -> str:
        """Return the next line it writes."""
        assert self._process.stdout is not None
        async with asyncio.timeout(patience.get()):
            return (await asyncio.to_thread(self._process.stdout.readline)).strip()

    async def kill(self) -> None:
        """End it with SIGKILL, which it cannot notice."""
        self._process.kill()
        await asyncio.to_thread(self._process.communicate)


async def follow(order: dict[str, Any]) -> None:
    """Do what the parent wants, in this process."""
    transport_class = attrgetter(order["class"])(importlib.import_module(order["module"]))
    transport = transport_class(order["urls"], clock=SystemClock(), on_lost=_fail)
    await transport.open()
    if order["order"] == "hold":
        async with transport.consume([order["name"]], prefetch=1) as consumer:
            (delivery,) = await consumer.receive(1, patience.get())
            _say(delivery.message.id)
            await _heard()
    elif order["order"] == "publish":
        _say("ready")
        await _heard()
        message = Message(id="from a child", routing_key=order["name"])
        _say("done" if (await transport.publish([message]))[0].ok else "refused")
    else:
        await transport.signal(order["name"], b"from a child")
        _say("done")
    await transport.close()


def _fail(error: TransportError) -> None:
    raise error


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def _heard() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(follow(json.loads(sys.stdin.readline())))
