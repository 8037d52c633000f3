"""Results in Redis, as far as they need no server: keys and values, and portions of them."""

from __future__ import annotations

import bz2
import json
import lzma
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.clock import SystemClock
from celeriac.errors import ConfigurationError, MessageTooLarge, TransportError, Unsupported
from celeriac.results import ResultRecord
from celeriac.states import FINAL, PENDING, STARTED
from celeriac_redis.results import records
from celeriac_redis.results.records import COMPRESSED, Entry, Keys, entry, portions, record_of
from celeriac_redis.store import RedisStore

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KEYS = Keys("shop_")
DAY = 24 * 60 * 60 * 1000


def record(**fields: object) -> ResultRecord:
    return ResultRecord(**{"task_id": "x", "attempt": 1, "state": "SUCCESS", **fields})


@pytest.mark.parametrize("url", ["redis://h?result_prefix=x", "redis://h?db=x", "sentinel://h", "redis://a;b"])
def test_what_cannot_work_is_refused_where_it_is_written(url: str):
    with pytest.raises(ConfigurationError):
        RedisStore([url], clock=SystemClock())


def test_a_fleet_knows_no_unknown_task():
    def knows(url: str) -> bool:
        return RedisStore([url], clock=SystemClock()).capabilities().knows_unknown

    assert (knows("redis://h"), knows("redis://h?fleet=celery")) == (True, False)


def test_keys_are_celery_s():
    assert KEYS.task("ž") == "shop_celery-task-meta-ž".encode()
    assert KEYS.group("g") == (b"shop_celeriac-group-g", b"shop_celeriac-group-done-g")
    for key in (KEYS.task, KEYS.group):
        with pytest.raises(Unsupported, match="Unicode"):
            key("\ud800")


@pytest.mark.parametrize(
    ("state", "expires", "kept"),
    [
        *((state, None, DAY) for state in sorted(FINAL)),
        (STARTED, None, 30 * DAY),
        (PENDING, None, 30 * DAY),
        ("SUCCESS", timedelta(seconds=1.5), 1500),
        (STARTED, timedelta(seconds=1), 1000),
        ("SUCCESS", timedelta(microseconds=1), 1),
        ("SUCCESS", timedelta(seconds=1, microseconds=1), 1001),
        ("SUCCESS", timedelta(days=-1), 1),  # Redis takes nothing less
    ],
)
def test_how_long_what_is_kept(state: str, expires: timedelta | None, kept: int):
    put = record(state=state, expires_at=None if expires is None else NOW + expires)
    assert entry(KEYS, put, NOW).kept == kept


@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 9), st.integers(1, 10**12))
def test_what_is_written_can_be_read(body: bytes, name: str, attempt: int, kept: int):
    put = record(task_id=name, attempt=attempt, body=body, content_type="application/x-mine", content_encoding="binary")
    written = entry(KEYS, put, NOW)
    expiring = record_of(written.value, kept, NOW, written.key)
    assert expiring.expires_at == NOW + timedelta(milliseconds=kept)
    assert record_of(written.value, None, NOW, written.key) == put


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        (b"application/x-gzip", zlib.compress),
        (b"application/x-bz2", bz2.compress),
        (b"application/x-lzma", lzma.compress),
    ],
)
def test_what_celery_compresses(name, compress):
    plain = json.dumps({"status": "SUCCESS", "result": [1, 2], "task_id": "x"}).encode()
    value = COMPRESSED + name + b"\0" + compress(plain)
    assert record_of(value, None, NOW, b"k") == record(body=b"[1, 2]")
    for broken in (value[:-3], COMPRESSED + name, COMPRESSED + name + b"\0" + plain):
        with pytest.raises(TransportError, match="the key 'k' holds no result"):
            record_of(broken, None, NOW, b"k")


@pytest.mark.parametrize(
    "value", [b"", b"x", b"\xff", b"null", b"[]", b"{}", COMPRESSED, COMPRESSED + b"application/zstd\0x"]
)
def test_what_is_no_result(value: bytes):
    with pytest.raises(TransportError, match=r"the key 'k.*' holds no result") as raised:
        record_of(value, None, NOW, b"k\xff")
    assert raised.value.__cause__ is not None


def test_what_is_too_large(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "LARGEST", 1000)
    assert entry(KEYS, record(body=b"1" * 500), NOW)
    with pytest.raises(MessageTooLarge, match="result of x has"):
        entry(KEYS, record(body=b"1" * 1000), NOW)


@given(st.lists(st.integers(0, 60)))
def test_portions(sizes: list[int]):
    entries = [Entry(b"", b"x" * size, "SUCCESS", 1, 1) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MANY", 5)
        patch.setattr(records, "MUCH", 100)
        found = [*portions(entries)]
    assert [each for some in found for each in some] == entries
    assert all(1 <= len(some) <= 5 for some in found)
    assert all(len(some) == 1 or sum(each.size for each in some) <= 100 for some in found)
