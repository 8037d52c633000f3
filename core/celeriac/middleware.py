"""Middleware: code of yours around every publish and every run of an App's tasks.

    class Timed(Middleware):
        def run(self, call, call_next):
            begun = perf_counter()
            try:
                return call_next(call)
            finally:
                observe(call.task.name, perf_counter() - begun)

        async def arun(self, call, call_next): ...     # the same, awaited

    app = App(middleware=[Timed(), Other()])           # Timed is around Other, which is around the task

Each half of a pair is written out: a middleware that only saw ``def`` tasks would pass coroutines by in silence, and is
refused. What is raised goes where it would go without a middleware: out of `run` it is the task's failure (or its wish:
`Retry`, `Reject`, ...), out of `publish` it is the caller's exception. A publish is neither dropped nor hidden: where a
middleware does not pass the messages on, or swallows what the broker said of them, the caller is told all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac.errors import ConfigurationError, PublishError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from celeriac.message import Message
    from celeriac.request import Request
    from celeriac.task import Task

ValueT = TypeVar("ValueT")
ReturnT = TypeVar("ReturnT")

PAIRS = (("run", "arun"), ("publish", "apublish"))


@dataclass(frozen=True, slots=True)
class Call:
    """A task with what it is called with, ready to run.

    Attributes:
        task: the task.
        request: what it may know of its message.
        args: what it is called with; ``dataclasses.replace(call, args=...)`` passes on something else.
        kwargs: what it is called with, by name.
        assignment: the worker's own.
    """

    task: Task[..., Any]
    request: Request
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    assignment: Any = field(default=None, repr=False)

    def begin(self) -> Any:
        """Call the user's function."""
        task = self.task
        return task.fn(task, *self.args, **self.kwargs) if task.bind else task.fn(*self.args, **self.kwargs)


class Middleware:
    """What may stand around publishing and running. Write one pair, or both; what is left out costs nothing.

    One instance serves an App in a process, from all of its threads: what belongs to one call is kept in local names.
    """

    def publish(self, messages: Sequence[Message], call_next: Callable[[Sequence[Message]], None]) -> None:
        """Stand around a blocking publish, in the process that sends; of one message, or of a batch.

        Args:
            messages: to be sent; copies with other headers may be passed on (``dataclasses.replace``), of the same ids.
            call_next: returns once the broker has confirmed every message; with ``publish_confirm="deferred"`` once
                they are handed over. Raises what the caller is to see.
        """
        call_next(messages)

    async def apublish(
        self, messages: Sequence[Message], call_next: Callable[[Sequence[Message]], Awaitable[None]]
    ) -> None:
        """Stand around a publish from a coroutine; as `publish`."""
        await call_next(messages)

    def run(self, call: Call, call_next: Callable[[Call], Any]) -> Any:
        """Stand around a ``def`` task, in the process and on the thread in which it runs.

        Args:
            call: what is to run.
            call_next: runs it and returns what it returned; raises what it raised, time limits among it.

        Returns:
            The task's result: as a rule what ``call_next`` returned.
        """
        return call_next(call)

    async def arun(self, call: Call, call_next: Callable[[Call], Awaitable[Any]]) -> Any:
        """Stand around an ``async def`` task, on its loop; as `run`. A cancellation is to be let through."""
        return await call_next(call)


class Middlewares:
    """The middlewares of one App, joined once. Each attribute is ``None`` where there is nothing to stand around.

    Attributes:
        run: runs a call of a ``def`` task.
        arun: the same for an ``async def`` task; what it returns is awaited.
    """

    def __init__(self, middlewares: Iterable[Middleware]) -> None:
        """Join ``middlewares``, the first around all others.

        Raises:
            ConfigurationError: one is no `Middleware`, or has one half of a pair.
        """
        self._all = tuple(middlewares)
        for each in self._all:
            check(each)
        self.run = self._runner("run")
        self.arun = self._runner("arun")
        self._publishing = self._with("publish")

    @property
    def publishes(self) -> bool:
        """There is a middleware around publishing."""
        return bool(self._publishing)

    def publish(self, messages: Sequence[Message], send: Callable[[Sequence[Message]], None]) -> None:
        """Publish ``messages`` by ``send``, which raises what the caller is to see."""
        last = _Sent(messages)

        def call_next(given: Sequence[Message]) -> None:
            with last.sending(given):
                send(given)

        _join([each.publish for each in self._publishing], call_next)(messages)
        last.check(self._publishing)

    async def apublish(self, messages: Sequence[Message], send: Callable[[Sequence[Message]], Awaitable[None]]) -> None:
        """Publish from a coroutine; as `publish`."""
        last = _Sent(messages)

        async def call_next(given: Sequence[Message]) -> None:
            with last.sending(given):
                await send(given)

        await _join([each.apublish for each in self._publishing], call_next)(messages)
        last.check(self._publishing)

    def _runner(self, name: str) -> Callable[[Call], Any] | None:
        around = self._with(name)
        return _join([getattr(each, name) for each in around], Call.begin) if around else None

    def _with(self, name: str) -> tuple[Middleware, ...]:
        """Return those that have something to do there."""
        return tuple(each for each in self._all if _writes(each, name))


class _Sent:
    """What became of one publish, whatever the middlewares say of it."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._ids = [message.id for message in messages]
        self._done = False
        self._error: BaseException | None = None

    def sending(self, messages: Sequence[Message]) -> _Sent:
        """Return a block in which ``messages`` are sent.

        Raises:
            ConfigurationError: they are not those that were given, by their ids.
        """
        if [message.id for message in messages] != self._ids:
            raise ConfigurationError("a middleware may change messages, but not their ids, their number or their order")
        return self

    def __enter__(self) -> None:
        self._error = None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self._error = error
        self._done = self._done or error is None

    def check(self, middlewares: Iterable[Middleware]) -> None:
        """Raise if the caller would believe that the messages are sent, and they are not."""
        if self._error is not None and not self._done:
            raise self._error
        if not self._done:
            names = ", ".join(type(each).__qualname__ for each in middlewares)
            raise PublishError(
                f"nothing was sent: a middleware did not call call_next ({names}); to refuse, let it raise"
            )


def check(middleware: object) -> None:
    """Refuse what cannot stand around anything.

    Raises:
        ConfigurationError: it is no `Middleware`, or has one half of a pair.
    """
    if not isinstance(middleware, Middleware):
        raise ConfigurationError(f"{middleware!r} is no Middleware; give instances of subclasses of it")
    for pair in PAIRS:
        written = [name for name in pair if _writes(middleware, name)]
        if len(written) == 1:
            (missing,) = set(pair) - set(written)
            raise ConfigurationError(
                f"{type(middleware).__qualname__} has {written[0]} and no {missing}: it would see one kind of call; "
                "write both"
            )


def _writes(middleware: Middleware, name: str) -> bool:
    return getattr(type(middleware), name) is not getattr(Middleware, name)


def _join(
    around: Sequence[Callable[[ValueT, Callable[[ValueT], ReturnT]], ReturnT]], last: Callable[[ValueT], ReturnT]
) -> Callable[[ValueT], ReturnT]:
    """Return ``last`` with ``around`` around it, the first outermost."""
    call_next = last
    for each in reversed(around):
        call_next = _around(each, call_next)
    return call_next


def _around(
    method: Callable[[ValueT, Callable[[ValueT], ReturnT]], ReturnT], call_next: Callable[[ValueT], ReturnT]
) -> Callable[[ValueT], ReturnT]:
    return lambda value: method(value, call_next)
