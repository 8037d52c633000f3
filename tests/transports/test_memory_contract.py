"""The memory transport and store keep the contracts."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from celeriac.testing import ResultStoreContract, TransportContract
from celeriac_memory.registry import forget
from celeriac_memory.transport import MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class TestMemory(TransportContract):
    @pytest.fixture
    def transport_urls(self) -> Iterator[list[str]]:
        name = uuid.uuid4().hex
        yield [f"memory://{name}"]
        forget(name)

    @pytest.fixture
    def lease_urls(self, transport_urls: list[str]) -> list[str]:
        return [f"{url}?lease=1" for url in transport_urls]

    @pytest.fixture
    def other_urls(self) -> Iterator[list[str]]:
        name = uuid.uuid4().hex
        yield [f"memory://{name}"]
        forget(name)

    @pytest.fixture
    def cut(self) -> Callable[[MemoryTransport], None]:
        return MemoryTransport.sever


class TestMemoryStore(ResultStoreContract):
    @pytest.fixture
    def store_urls(self) -> Iterator[list[str]]:
        name = uuid.uuid4().hex
        yield [f"memory://{name}"]
        forget(name)
