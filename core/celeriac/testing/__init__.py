"""What tests of celeriac, of your tasks and of your own plugins are made with.

- `Sandbox`: an App whose tasks stay inside the test, with a time and faults of its own; see
  ``docs/how-to/testing.md``. As fixtures: `celeriac.testing.plugin`, and by Celery's names
  `celeriac.testing.celery_fixtures`.
- `VirtualClock`: time that passes when a test says so.
- `FaultProxy`: a TCP proxy between a client and its broker that resets, delays, drips, refuses or swallows.
- `TransportContract`, `ResultStoreContract`: the conformance kit. Subclass one, name your class, give the fixture that
  makes URLs, and pytest runs the whole written contract against your broker. Only these import pytest.

Each is imported at its first use: naming a pytest plugin in here costs a test run nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.lazy import at_first_use

if TYPE_CHECKING:
    from celeriac.testing.conformance import ResultStoreContract, TransportContract
    from celeriac.testing.faults import FaultProxy
    from celeriac.testing.sandbox import Enqueued, NotDrained, Sandbox
    from celeriac.testing.virtual_clock import VirtualClock

__all__ = [
    "Enqueued",
    "FaultProxy",
    "NotDrained",
    "ResultStoreContract",
    "Sandbox",
    "TransportContract",
    "VirtualClock",
]

_HOMES = {
    "Enqueued": "sandbox",
    "FaultProxy": "faults",
    "NotDrained": "sandbox",
    "ResultStoreContract": "conformance",
    "Sandbox": "sandbox",
    "TransportContract": "conformance",
    "VirtualClock": "virtual_clock",
}

__getattr__ = at_first_use(__name__, _HOMES)
