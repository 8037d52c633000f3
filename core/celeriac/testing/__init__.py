"""What tests of celeriac, of your tasks and of your own plugins are made with.

- `VirtualClock`: time that passes when a test says so.
- `FaultProxy`: a TCP proxy between a client and its broker that resets, delays, drips, refuses or swallows.
- `TransportContract`, `ResultStoreContract`: the conformance kit. Subclass one, name your class, give the fixture that
  makes URLs, and pytest runs the whole written contract against your broker. Only these import pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.testing.faults import FaultProxy
from celeriac.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from celeriac.testing.conformance import ResultStoreContract, TransportContract

__all__ = ["FaultProxy", "ResultStoreContract", "TransportContract", "VirtualClock"]


def __getattr__(name: str) -> Any:
    if name in {"ResultStoreContract", "TransportContract"}:
        from celeriac.testing import conformance  # noqa: PLC0415 - it needs pytest, which VirtualClock does not

        return getattr(conformance, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
