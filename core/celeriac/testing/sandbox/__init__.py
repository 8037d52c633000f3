"""An App in a sandbox, for tests of programs: see `celeriac.testing.Sandbox`."""

from __future__ import annotations

from celeriac.testing.sandbox.enqueued import Enqueued
from celeriac.testing.sandbox.faults import Faults
from celeriac.testing.sandbox.sandbox import Sandbox, sandbox_of
from celeriac.testing.sandbox.stuck import NotDrained
from celeriac.testing.sandbox.worker import SandboxWorker

__all__ = ["Enqueued", "Faults", "NotDrained", "Sandbox", "SandboxWorker", "sandbox_of"]
