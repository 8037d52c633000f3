"""How a saboteur is declared, and tried on a test of the kit."""

import uuid
from contextlib import asynccontextmanager

import pytest

from celeriac.testing import TransportContract
from celeriac_memory.registry import forget
from celeriac_memory.transport import MemoryTransport

SABOTEURS = []


class Spoiled(MemoryTransport):
    """Lets a saboteur replace methods of its consumers."""

    def spoil(self, consumer):
        """Break ``consumer``."""

    @asynccontextmanager
    async def consume(self, queues, *, prefetch):
        async with super().consume(queues, prefetch=prefetch) as consumer:
            self.spoil(consumer)
            yield consumer


class SettlesOtherwise(Spoiled):
    def spoil(self, consumer):
        settle = consumer.settle
        consumer.settle = lambda settlements: self.settle(consumer, settle, settlements)


def breaks(clause, test):
    def add(saboteur):
        SABOTEURS.append(pytest.param(saboteur, clause, f"test_{test}", id=f"{clause}-{saboteur.__name__}"))
        return saboteur

    return add


def try_on(transport_class, test, patience=1.0):
    name = uuid.uuid4().hex
    contract = type(
        "Tried", (TransportContract,), {"transport_class": transport_class, "patience": patience, "time_limit": 8.0}
    )()
    contract.prepare(
        [f"memory://{name}"],
        lease_urls=[f"memory://{name}?lease=0.5"],
        other_urls=[f"memory://{name}-other"],
        cut=MemoryTransport.sever,
    )
    try:
        getattr(contract, test)()
    finally:
        forget(name)
