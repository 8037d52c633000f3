"""A result as the value of its key: Celery's JSON, and what names the key. Pure, but for the time."""

from __future__ import annotations

import bz2
import lzma
import zlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac.errors import CodecError, MessageTooLarge, TransportError, Unsupported
from celeriac.protocol import parse_result_meta, result_meta
from celeriac.states import FINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from celeriac.results import ResultRecord

FINAL_KEPT = timedelta(days=1)
WAITING_KEPT = timedelta(days=30)  # of what has no final state: a task may be delayed, or its worker gone for good
MILLISECOND = timedelta(milliseconds=1)
LARGEST = (
    512 * 1024 * 1024
)  # bytes of a value: Redis's own limit, https://redis.io/docs/latest/develop/data-types/strings/
MANY = 500  # records that one script may hold up the server with
MUCH = 4 * 1024 * 1024  # bytes, the same

# Celery 5.7's result_compression: this, the content type, a zero byte, the compressed JSON
COMPRESSED = b"\x00celery-compressed\x00"
DECOMPRESS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"application/x-gzip": zlib.decompress,  # kombu names zlib's format so
    b"application/x-bz2": bz2.decompress,
    b"application/x-lzma": lzma.decompress,
}


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of our keys.

    Attributes:
        prefix: Celery's ``global_keyprefix``, as its result backend writes it.
    """

    prefix: str

    def task(self, task_id: str) -> bytes:
        """Return the key of a result, which is also the channel on which it is told."""
        return _encoded(f"{self.prefix}celery-task-meta-{task_id}")

    def group(self, group: str) -> tuple[bytes, bytes]:
        """Return the set of a group's members, and the key that remembers the call that completed it."""
        return _encoded(f"{self.prefix}celeriac-group-{group}"), _encoded(f"{self.prefix}celeriac-group-done-{group}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as it is written."""

    key: bytes
    value: bytes
    state: str
    attempt: int
    kept: int

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.key) + len(self.value)


def entry(keys: Keys, record: ResultRecord, now: datetime) -> Entry:
    """Return how ``record`` is written.

    Raises:
        MessageTooLarge: no value of Redis is so large.
        Unsupported: its id is not valid Unicode.
    """
    value = result_meta(record)
    if len(value) > LARGEST:
        raise MessageTooLarge(f"the result of {record.task_id} has {len(value)} bytes; Redis takes {LARGEST} at most")
    kept = FINAL_KEPT if record.state in FINAL else WAITING_KEPT
    if record.expires_at is not None:
        kept = record.expires_at - now
    milliseconds = max(1, -(-kept // MILLISECOND))  # rounded up: not gone before its moment
    return Entry(keys.task(record.task_id), value, record.state, record.attempt, milliseconds)


def record_of(value: bytes, kept: int | None, now: datetime, key: bytes) -> ResultRecord:
    """Return the record in a value of ours or of Celery's.

    Args:
        value: what stands under the key, or was told on its channel.
        kept: milliseconds that it will still stand; ``None`` where that is not known.
        now: the time.
        key: for the error.

    Raises:
        TransportError: it is no result.
    """
    try:
        record = parse_result_meta(_plain(value) if value.startswith(COMPRESSED) else value)
    except (CodecError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise TransportError(f"the key {key.decode(errors='replace')!r} holds no result: {error}") from error
    return record if kept is None or kept < 0 else replace(record, expires_at=now + kept * MILLISECOND)


def portions(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Part ``entries`` into as many as one script shall write, so that the server is not held up for long."""
    some: list[Entry] = []
    size = 0
    for each in entries:
        if some and (len(some) == MANY or size + each.size > MUCH):
            yield some
            some, size = [], 0
        some.append(each)
        size += each.size
    if some:
        yield some


def _plain(value: bytes) -> bytes:
    """Return the JSON that Celery has compressed."""
    kind, _, body = value.removeprefix(COMPRESSED).partition(b"\0")
    if kind not in DECOMPRESS:
        raise ValueError(f"it is compressed as {kind.decode(errors='replace')!r}, which cannot be undone here")
    return DECOMPRESS[kind](body)


def _encoded(key: str) -> bytes:
    try:
        return key.encode()
    except UnicodeEncodeError as error:
        raise Unsupported(f"an id is not valid Unicode text: {error}") from error
