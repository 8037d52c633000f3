"""What a caller holds of a task it has sent."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from celeriac import states
from celeriac.errors import ResultError, ResultTimeout, TaskRevoked
from celeriac.portal import awaitable
from celeriac.protocol import ErrorData, rebuild
from celeriac.request import current_task

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Mapping, Sequence

    from celeriac.client import Client
    from celeriac.deferred import Pending
    from celeriac.results import ResultRecord
    from celeriac.task import Task

T = TypeVar("T")
R = TypeVar("R", covariant=True)  # noqa: PLC0105 - one letter, as everywhere for type variables

WITH_ERROR = (states.FAILURE, states.REVOKED, states.RETRY)


class AsyncResult(Generic[R]):
    """The result of one task, now or later. Awaitable.

    Attributes:
        id: the task's id.
        task: what its result is typed by; ``None`` where only the id is known, and the result is plain data.
    """

    def __init__(
        self, task_id: str, client: Client, pending: Pending | None = None, task: Task[..., Any] | None = None
    ) -> None:
        """Name the task; `App.AsyncResult` is how to make one from an id.

        Args:
            task_id: the task's id.
            client: of this process.
            pending: its message, if nobody has waited for its confirm: asking for the result does.
            task: says what its result is; without it a result is plain data.
        """
        self.id = task_id
        self._client = client
        self.task = task
        self._pending = pending
        self._final: ResultRecord | None = None

    def __repr__(self) -> str:
        """Return ``<AsyncResult: id>``."""
        return f"<AsyncResult: {self.id}>"

    def __eq__(self, other: object) -> bool:
        """Equal when they speak of the same task."""
        return isinstance(other, AsyncResult) and other.id == self.id

    def __hash__(self) -> int:
        """Hash by id."""
        return hash(self.id)

    def __del__(self) -> None:
        """Let a mailbox drop what nobody can ask for any more."""
        client = getattr(self, "_client", None)
        if client is not None:
            client.drop(self.id)

    @property
    def _here(self) -> Client:
        """This process's client: after a fork, another than the one that sent the task."""
        if self._client.pid != os.getpid():
            self._client = self._client.successor()
            self._pending = None
        return self._client

    @property
    def state(self) -> str:
        """One of `celeriac.states`; asks the store.

        ``UNKNOWN`` where the store would know the task and does not: it was sent without a result, never sent, or its
        result has expired. A store that cannot tell says ``PENDING``.
        """
        record = self._look()
        if record is None:
            return states.UNKNOWN if self._here.knows_unknown else states.PENDING
        return record.state

    status = state

    def ready(self) -> bool:
        """Return whether it has succeeded, failed or been revoked."""
        return self.state in states.FINAL

    def successful(self) -> bool:
        """Return whether it has succeeded."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """Return whether it has failed."""
        return self.state == states.FAILURE

    @property
    def result(self) -> Any:
        """What it returned, or the exception it failed with; ``None`` while it is not done."""
        record = self._look()
        if record is None or record.state not in states.FINAL:
            return None
        return self._value(record) if record.state == states.SUCCESS else self._error(record)

    @property
    def info(self) -> Any:
        """What there is to know now: the result or the exception, or what a state that is not final says.

        ``{"current": 3, "total": 10, ...}`` for ``PROGRESS``, ``{"hostname": ...}`` for ``STARTED``, the exception for
        ``RETRY``; otherwise ``None``.
        """
        record = self._look()
        if record is None:
            return None
        return self._error(record) if record.state in WITH_ERROR else self._value(record)

    @property
    def traceback(self) -> str | None:
        """The remote traceback of a failure, as text."""
        record = self._look()
        return record.traceback if record else None

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """Its failed attempts, oldest first, of many the first and the last five: ``at``, ``where``, ``error``, ..."""
        record = self._look()
        return record.history if record else ()

    def get(self, timeout: float | None = None, *, propagate: bool = True, allow_join: bool = False) -> R:
        """Wait for the result and return it.

        Args:
            timeout: seconds; ``None`` waits for ever.
            propagate: raise what the task raised; otherwise return that exception.
            allow_join: allow to wait inside a task, which may starve the worker that would run the other one.

        Raises:
            ResultTimeout: it did not come in time.
            PublishError: its message was sent with ``publish_confirm="deferred"``, and the broker did not take it.
            UnknownTask: the store never saw this id, or has forgotten it.
            TaskRevoked: it was revoked, or had expired.
            TaskError: it failed with an exception whose class is not known here; otherwise that exception itself.
            DecodeError: its content type is not accepted; an `UntrustedMessage` where its signature is not ours.
            ValidationError: it is not what the task says that it returns.
        """
        _may_wait(allow_join=allow_join)
        return self.outcome(self._waited(timeout), propagate=propagate)

    async def aget(self, timeout: float | None = None, *, propagate: bool = True, allow_join: bool = False) -> R:
        """Wait for the result from a coroutine; as `get`."""
        _may_wait(allow_join=allow_join)
        record = self._at_hand()
        if record is None:
            record = await asyncio.wrap_future(self._here.portal.start(self.final(timeout)))
        return self.outcome(record, propagate=propagate)

    def __await__(self) -> Generator[Any, None, R]:
        """Wait for the result, as `aget` without a timeout."""
        return self.aget().__await__()

    def revoke(self, *, terminate: bool = False, best_effort: bool = False) -> None:
        """See that the task is not run; as `App.revoke`."""
        self._run(self._revoke(terminate=terminate, best_effort=best_effort))

    async def arevoke(self, *, terminate: bool = False, best_effort: bool = False) -> None:
        """Revoke from a coroutine; as `revoke`."""
        await asyncio.wrap_future(self._here.portal.start(self._revoke(terminate=terminate, best_effort=best_effort)))

    def _revoke(self, *, terminate: bool, best_effort: bool) -> Coroutine[Any, Any, None]:
        return self._here.revoke([self.id], terminate=terminate, best_effort=best_effort)

    def forget(self) -> None:
        """Drop what the store keeps of it."""
        self._final = None
        self._run(self._here.forget([self.id]))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._here.portal.run(coroutine)

    def _look(self) -> ResultRecord | None:
        if self._final is None:
            client = self._here
            if self._pending is not None:
                self._pending.check()
            record = client.portal.run(client.look(self.id))
            if record is None or record.state not in states.FINAL:
                return record
            self._final = record
        return self._final

    def _waited(self, timeout: float | None) -> ResultRecord:
        """Return the final record; where it would block a loop it is refused or warned of, come already or not."""
        self._here.portal.may_block()
        return self._at_hand() or self._run(self.final(timeout))

    def _at_hand(self) -> ResultRecord | None:
        """Return the final record if it has come already: in the thread that asks, with no turn of the loop."""
        if self._final is None:
            self._final = self._here.known(self.id)
        return self._final

    async def final(self, timeout: float | None = None) -> ResultRecord:
        """Return the final record, on the portal's loop; raises as `get` where there is none."""
        if self._final is None:
            try:
                async with asyncio.timeout(timeout):
                    client = self._here
                    if self._pending is not None:
                        await asyncio.wait([awaitable(self._pending.future)])
                        self._pending.check()
                    self._final = await client.wait(self.id)
            except TimeoutError:
                raise ResultTimeout(f"no result of {self.id} within {timeout} s") from None
        return self._final

    def outcome(self, record: ResultRecord, *, propagate: bool = True) -> R:
        """Return what a final record says; raises as `get`."""
        if record.state == states.SUCCESS:
            return self._value(record)  # type: ignore[no-any-return]
        error = self._error(record)
        if propagate:
            raise error
        return error  # type: ignore[return-value]

    def _value(self, record: ResultRecord) -> Any:
        codecs = self._here.codecs
        if record.state not in states.FINAL:
            return codecs.json.decode(record.body)
        types = None if self.task is None else self.task.types
        return codecs.decode_result(record.body, record.content_type, record.content_encoding, self.id, types)

    def _error(self, record: ResultRecord) -> BaseException:
        data = ErrorData.decode(record.body)
        if record.state == states.REVOKED:
            return TaskRevoked(f"task {self.id} was revoked: {data.message or 'revoked'}")
        return rebuild(data, record.traceback, self._here.codecs)


def _may_wait(*, allow_join: bool) -> None:
    running = current_task()
    if running is not None and not allow_join:
        raise ResultError(
            f"{running.task} waits for another task inside a task, which can starve the worker: send a follow-up "
            "instead, or say get(allow_join=True)"
        )
