"""The written contracts as tests, for every author of a transport or a result store.

    class TestMine(TransportContract):
        @pytest.fixture
        def transport_urls(self):
            yield ["mine://..."]        # an empty namespace of your broker

    class TestMyStore(ResultStoreContract):
        @pytest.fixture
        def store_urls(self):
            yield ["mine://..."]

The classes are those that are plugged in for the URL's scheme; ``transport_class = MyTransport`` and ``store_class =
MyStore`` name others. Needs pytest and nothing else: no asyncio plugin. See the two classes for what more an author
may give.
"""

from __future__ import annotations

from celeriac.testing.conformance.contract import ResultStoreContract, TransportContract

__all__ = ["ResultStoreContract", "TransportContract"]
