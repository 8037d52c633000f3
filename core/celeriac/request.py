"""What a running task may know of its message and its place."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celeriac.errors import ProtocolError
from celeriac.protocol import parse_when

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a running task may know of its message and its place.

    Attributes:
        id: the task's id.
        task: its name.
        args: what it was called with.
        kwargs: what it was called with, by name.
        retries: how often it was retried.
        attempt: which run this is, from 1.
        hostname: the worker's node name.
        queue: where the message came from.
        exchange: where it was published.
        routing_key: the key it was published with.
        priority: 0 to 9.
        redelivered: it may have been run before.
        root_id: the first task of what this one belongs to.
        parent_id: the task that sent this one.
        group: the group it belongs to.
        correlation_id: as in the message.
        reply_to: the caller's mailbox, if it has one.
        origin: the process that sent it.
        eta: not before, ISO 8601.
        expires: not after, ISO 8601.
        headers: what the caller sent along.
        history: earlier attempts, oldest first: what each holds, see `celeriac.results.ResultRecord`.
        state: what the App's lifespan gave.
        tell: takes what `progress` tells; ``None`` where nobody wants to know.
    """

    id: str
    task: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 0
    attempt: int = 1
    hostname: str = ""
    queue: str = ""
    exchange: str = ""
    routing_key: str = ""
    priority: int = 0
    redelivered: bool = False
    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    origin: str | None = None
    eta: str | None = None
    expires: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    state: Any = None
    tell: Callable[[Mapping[str, Any]], None] | None = field(default=None, repr=False, compare=False)

    def seconds_since_first(self, now: datetime) -> float:
        """Return the seconds since the first attempt failed; 0 in the first."""
        for entry in self.history:
            with contextlib.suppress(ProtocolError):
                return (now - parse_when(entry.get("at"))).total_seconds()
        return 0.0


_request: ContextVar[Request | None] = ContextVar("celeriac_request", default=None)


def current_task() -> Request | None:
    """Return the request of the task that runs here; ``None`` outside of one."""
    return _request.get()


def progress(current: float, total: float | None = None, **meta: Any) -> None:
    """Tell, from inside a task, how far it is: state ``PROGRESS``, with these values as `AsyncResult.info`.

    The latest word is stored, at most every 0.1 s.

    Args:
        current: how much is done.
        total: of how much, if that is known.
        **meta: whatever else callers should see; it must be encodable.

    Raises:
        RuntimeError: no task runs here.
        EncodeError: a value cannot be carried.
    """
    request = current_task()
    if request is None:
        raise RuntimeError("no task runs here; progress is told only while a worker runs one")
    if request.tell is not None:
        request.tell({**meta, "current": current, "total": total})


@contextlib.contextmanager
def running(request: Request) -> Iterator[None]:
    """Make ``request`` the current one."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)
