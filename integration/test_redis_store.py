"""Redis keeps the result-store contract, and what it does beyond."""

from __future__ import annotations

import pytest

from celeriac.testing import ResultStoreContract
from celeriac_redis.store import RedisStore


class TestRedisStore(ResultStoreContract):
    store_class = RedisStore

    @pytest.fixture
    def store_urls(self, redis_url: str) -> list[str]:
        return [redis_url]


class TestRedisStoreInAFleet(ResultStoreContract):
    store_class = RedisStore

    @pytest.fixture
    def store_urls(self, redis_url: str) -> list[str]:
        return [f"{redis_url}&fleet=celery"]
