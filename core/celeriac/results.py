"""The result-store port: where the outcome of a task is kept, or sent.

What each method promises stands in ``docs/reference/result-store-contract.md``;
``celeriac.testing.ResultStoreContract`` checks it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from celeriac.clock import Clock
    from celeriac.transport import Transport

STORE_CONTRACT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCapabilities:
    """Facts about a store, never wishes.

    Attributes:
        compare_and_set: `ResultStore.put` refuses what would overwrite a final state or a later attempt.
        shared: any process with the same URL can read the result; otherwise only the one that sent the task.
        knows_unknown: an id that was never sent is told apart from one that waits.
    """

    compare_and_set: bool = False
    shared: bool = False
    knows_unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRecord:
    """The state of one task, as stored.

    Attributes:
        task_id: the task.
        attempt: the run it speaks of, from 1; 0 when it was never run.
        state: one of `celeriac.states`.
        body: the encoded result or, for a failure, the encoded error (`celeriac.protocol.ErrorData`).
        content_type: of the body.
        content_encoding: of the body.
        traceback: text, for a failure.
        reply_to: the caller's mailbox, for stores that send.
        expires_at: the store forgets it after this; ``None`` is the store's own default of one day.
        done_at: when the final state was reached.
        history: earlier attempts, oldest first: plain values by ``at``, ``where``, ``attempt``, ``why`` and ``error``.
    """

    task_id: str
    attempt: int
    state: str
    body: bytes = b"null"
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    traceback: str | None = None
    reply_to: str | None = None
    expires_at: datetime | None = None
    done_at: datetime | None = None
    history: tuple[Mapping[str, Any], ...] = ()


class ResultStore(ABC):
    """Where results are kept or sent.

    Attributes:
        contract: the contract version the plugin was written for.
        reply_to: what to write into ``Message.reply_to`` of a task whose result is wanted; ``None`` where the store
            needs no address. Known once constructed.
    """

    contract: ClassVar[int] = STORE_CONTRACT_VERSION
    reply_to: str | None = None

    def __init__(self, urls: Sequence[str], *, clock: Clock, transport: Transport | None = None) -> None:
        """Keep the addresses. Opens nothing.

        Args:
            urls: at least one, addresses of one store.
            clock: where the time comes from.
            transport: the process's open transport, for stores that live on the broker.
        """
        self.urls = tuple(urls)
        self.clock = clock
        self.transport = transport

    @abstractmethod
    def capabilities(self) -> StoreCapabilities:
        """Return what holds."""

    @abstractmethod
    async def open(self) -> None:
        """Connect. Idempotent; may be called again after a loss."""

    @abstractmethod
    async def close(self) -> None:
        """Release everything. Idempotent, and never raises."""

    @abstractmethod
    async def sent(self, ids: Sequence[str]) -> None:
        """Be told, before they are published, of tasks whose results are wanted.

        A store that ``knows_unknown`` writes PENDING; a mailbox is made here, at the first call.
        """

    @abstractmethod
    async def put(self, records: Sequence[ResultRecord]) -> Sequence[bool]:
        """Store states; ``False`` for each that was refused because a final state or a later attempt stands."""

    @abstractmethod
    async def get(self, ids: Sequence[str]) -> Sequence[ResultRecord | None]:
        """Return one record an id, in order; ``None`` for an id that is not there.

        Raises:
            NoResultStore: this store cannot know results of other processes.
        """

    def known(self, task_id: str) -> ResultRecord | None:  # noqa: ARG002 - for stores that know something
        """Return a task's final record where it lies in this process already. Asks nobody; any thread may call it."""
        return None

    @abstractmethod
    def wait(self, ids: Sequence[str]) -> AsyncIterator[ResultRecord]:
        """Yield the final record of each id, as they come, once; end when all have come. Pushed, not polled."""

    @abstractmethod
    async def forget(self, ids: Sequence[str]) -> None:
        """Drop what is stored of ``ids``. Idempotent."""

    @abstractmethod
    async def join(self, group: str, member: str, size: int) -> bool:
        """Add ``member`` to ``group``; ``True`` for exactly one call: the first that makes the set ``size`` large."""
