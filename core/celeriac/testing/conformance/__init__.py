"""The written contracts as tests, for every author of a transport or a result store.

    class TestMine(TransportContract):
        transport_class = MyTransport

        @pytest.fixture
        def transport_urls(self):
            yield ["mine://..."]        # an empty namespace of your broker

    class TestMyStore(ResultStoreContract):
        store_class = MyStore

        @pytest.fixture
        def store_urls(self):
            yield ["mine://..."]

Needs pytest and nothing else: no asyncio plugin. See the two classes for what more an author may give.
"""

from __future__ import annotations

from celeriac.testing.conformance.contract import ResultStoreContract, TransportContract

__all__ = ["ResultStoreContract", "TransportContract"]
