"""The two contracts, each with all its sections."""

from __future__ import annotations

from celeriac.testing.conformance.dead import DeadTests
from celeriac.testing.conformance.delays import DelayTests
from celeriac.testing.conformance.leases import LeaseTests
from celeriac.testing.conformance.life import LifeTests
from celeriac.testing.conformance.losing import LossTests
from celeriac.testing.conformance.operations import OperationTests
from celeriac.testing.conformance.prefetch import PrefetchTests
from celeriac.testing.conformance.priorities import PriorityTests
from celeriac.testing.conformance.publish import PublishTests
from celeriac.testing.conformance.receive import ReceiveTests
from celeriac.testing.conformance.revocations import RevocationTests
from celeriac.testing.conformance.settle import SettleTests
from celeriac.testing.conformance.signals import SignalTests
from celeriac.testing.conformance.stores import StoreGetTests, StoreLifeTests, StorePutTests
from celeriac.testing.conformance.topology import TopologyTests
from celeriac.testing.conformance.waiting import StoreJoinTests, StoreWaitTests


class TransportContract(
    LifeTests,
    TopologyTests,
    PublishTests,
    ReceiveTests,
    PrefetchTests,
    SettleTests,
    LeaseTests,
    DelayTests,
    PriorityTests,
    DeadTests,
    SignalTests,
    OperationTests,
    RevocationTests,
    LossTests,
):
    """Every clause of ``docs/transport-contract.md`` against a live broker.

    An author subclasses it and gives the fixture ``transport_urls``: a list of URLs of one cluster whose queues are
    nobody else's. Names are unique in each test, so the namespace may be kept for a module.

    Fixtures that an author may give besides; without one, the clauses that need it are skipped and say so:

    - ``cut``: a function, plain or async, that takes an open transport and severs its connection to the broker.
    - ``lease_urls``: as ``transport_urls`` (the same namespace), with a lease of some 2 seconds.
    - ``other_urls``: another namespace, as ``transport_urls``.
    - ``unreachable_urls``: where nobody answers, with the password ``open-sesame`` if the scheme knows one.
    - ``refused_urls``: where the broker refuses us, with the password ``open-sesame`` if the scheme knows one.

    For the clauses about processes that die, the transport's class must be importable by its module and name.
    """


class ResultStoreContract(StoreLifeTests, StorePutTests, StoreGetTests, StoreWaitTests, StoreJoinTests):
    """Every clause of ``docs/reference/result-store-contract.md`` against a live store.

    An author subclasses it and gives the fixture ``store_urls``: a list of URLs of one store. A store that lives on a
    broker overrides `transport` to return an open transport of that broker.
    """
