"""Tasks: functions that can also be sent. `App.task` makes them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from celeriac.errors import ConfigurationError, UnknownOption, did_you_mean
from celeriac.flow import Retry, TaskFlow
from celeriac.retry import RetryOptions

if TYPE_CHECKING:
    from datetime import datetime

    from celeriac.app import App
    from celeriac.converters import CallTypes
    from celeriac.flow import Delay
    from celeriac.request import Request
    from celeriac.result import AsyncResult

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What may be said of one call; a task's own options are the defaults.

    Attributes:
        queue: the queue to send to, by name.
        exchange: the exchange to publish to instead.
        routing_key: the key to publish with.
        priority: 0 to 9, higher is sooner; above 0 only on a queue that declares levels.
        headers: sent along; a running task finds them in ``request.headers``.
        task_id: the task's id instead of a fresh one.
        ignore_result: store no result.
        countdown: seconds before it may start.
        eta: the moment before which it may not start; a naive one is UTC.
        expires: the moment, or seconds from now, after which it is not run; a naive moment is UTC.
        time_limit: seconds after which it is ended, and has failed with `TimeLimitExceeded`.
        soft_time_limit: seconds after which `SoftTimeLimitExceeded` is raised inside it.
        publish_confirm: ``wait``: the call returns when the broker has confirmed the message. ``deferred``: it returns
            at once, and the handle, `App.flush` and `App.close` raise if it was not; ``None`` as the App's setting.
        serializer: encodes the arguments, by name or content type; ``None`` as the App's setting.
        compression: compresses the arguments; ``None`` as the App's setting.
    """

    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int = 0
    headers: Mapping[str, Any] | None = None
    task_id: str | None = None
    ignore_result: bool | None = None
    countdown: float | timedelta | None = None
    eta: datetime | None = None
    expires: float | timedelta | datetime | None = None
    time_limit: float | timedelta | None = None
    soft_time_limit: float | timedelta | None = None
    publish_confirm: str | None = None
    serializer: str | None = None
    compression: str | None = None

    def __post_init__(self) -> None:
        """Bring the limits into seconds, and the compression's name into a MIME type.

        Raises:
            ConfigurationError: a limit of 0, a negative one, or a soft one beyond the hard one; an unknown word or
                compression.
        """
        if type(self.priority) is not int:
            raise ConfigurationError(f"priority={self.priority!r}: give 0 to 9; higher is sooner")
        if self.publish_confirm is not None:
            from celeriac.settings import PUBLISH_CONFIRMS  # noqa: PLC0415 - most leave it to the App's setting

            if self.publish_confirm not in PUBLISH_CONFIRMS:
                raise ConfigurationError(
                    f"publish_confirm={self.publish_confirm!r}: use one of {', '.join(PUBLISH_CONFIRMS)}"
                )
        if self.compression is not None:
            from celeriac.protocol import compression_type  # noqa: PLC0415 - most are not compressed

            object.__setattr__(self, "compression", compression_type(self.compression))
        if self.time_limit is None and self.soft_time_limit is None:
            return
        for name in ("time_limit", "soft_time_limit"):
            object.__setattr__(self, name, _limit(name, getattr(self, name)))
        hard, soft = self.limits
        if hard is not None and soft is not None and soft > hard:
            raise ConfigurationError(f"soft_time_limit={soft} is beyond time_limit={hard}; the soft one comes first")

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """The hard and the soft limit, in seconds."""
        return self.time_limit, self.soft_time_limit  # type: ignore[return-value] # in seconds since __post_init__

    def with_(self, options: Mapping[str, Any]) -> CallOptions:
        """Return these options with ``options`` over them; a place or a moment replaces one said in other words.

        Raises:
            UnknownOption: a name that is none of them, with a did-you-mean.
            ConfigurationError: a time limit that cannot be kept.
        """
        if not options:
            return self
        for name in options:
            if name not in CALL_OPTIONS:
                raise UnknownOption("call option", name, CALL_OPTIONS)
        displaced: dict[str, Any] = {
            other: None for name in options for other in DISPLACES.get(name, ()) if other not in options
        }
        return replace(self, **displaced, **options)


CALL_OPTIONS = tuple(each.name for each in fields(CallOptions))
DISPLACES = {
    "queue": ("exchange", "routing_key"),
    "exchange": ("queue", "routing_key"),
    "countdown": ("eta",),
    "eta": ("countdown",),
}
NO_OPTIONS = CallOptions()
RETRY_OPTIONS = tuple(each.name for each in fields(RetryOptions))
NO_RETRIES = RetryOptions()


class Task(Generic[P, R]):
    """A function that can be sent to a worker; ``R`` is what it returns, awaited if it is a coroutine function.

    Attributes:
        app: the App it is registered with.
        name: what messages call it.
        fn: the function.
        bind: the function's first argument is the task itself.
        is_async: the function is a coroutine function.
        acks_late: acknowledged after its result is stored; ``None`` as the App's setting.
        ignore_result: its result is not stored; ``None`` as the App's setting.
        track_started: that it has begun is stored; ``None`` as the App's setting.
        result_serializer: encodes its results; ``None`` as the App's setting.
        retries: when it is tried again.
    """

    def __init__(
        self,
        app: App,
        fn: Callable[..., Any],
        *,
        name: str,
        bind: bool = False,
        acks_late: bool | None = None,
        ignore_result: bool | None = None,
        track_started: bool | None = None,
        typing: bool = True,
        result_serializer: str | None = None,
        defaults: CallOptions = NO_OPTIONS,
        retries: RetryOptions = NO_RETRIES,
    ) -> None:
        """Describe the task; `App.task` is how to make one."""
        self.app = app
        self.fn = fn
        self.name = name
        self.bind = bind
        self.is_async = inspect.iscoroutinefunction(fn)
        self.acks_late = acks_late
        self.ignore_result = ignore_result
        self.track_started = track_started
        self.defaults = defaults
        self.retries = retries
        self.__doc__ = fn.__doc__
        self.__name__ = getattr(fn, "__name__", name)
        self.__module__ = fn.__module__
        self.__wrapped__ = fn
        self._signature = _without_first(inspect.signature(fn)) if bind else inspect.signature(fn)
        self._plain_arity = _plain_arity(self._signature)
        self.result_serializer = result_serializer
        self._typed = typing

    @cached_property
    def types(self) -> CallTypes | None:
        """What its annotations say of arguments and result; ``None`` where they are not looked at."""
        from celeriac.converters import CallTypes  # noqa: PLC0415 - who only declares tasks converts nothing

        return CallTypes(self.name, self.__wrapped__, self._signature) if self._typed else None

    def __repr__(self) -> str:
        """Return ``<@task: name>``."""
        return f"<@task: {self.name}>"

    @property
    def request(self) -> Request:
        """The request of the run in progress.

        Raises:
            RuntimeError: no task runs here.
        """
        from celeriac.request import current_task  # noqa: PLC0415 - for tasks that run

        request = current_task()
        if request is None:
            raise RuntimeError(f"{self!r} does not run here; .request is there only while a worker runs it")
        return request

    def retry(
        self,
        exc: BaseException | None = None,
        *,
        countdown: Delay | None = None,
        eta: datetime | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        max_retries: int | None = None,
        throw: bool = True,
    ) -> Retry:
        """Ask, from inside the task, for another attempt; raises, so that nothing after it is run.

        Args:
            exc: why; by default the exception being handled.
            countdown: seconds until the next attempt; by default as the task's options say.
            eta: the moment instead; a naive one is UTC.
            args: other positional arguments for the next attempt.
            kwargs: other keyword arguments.
            max_retries: another limit.
            throw: raise the `Retry`; otherwise return it, to be raised by you.

        Raises:
            Retry: unless ``throw`` is false.
            RuntimeError: no task runs here.
        """
        if self.request.task != self.name:
            raise RuntimeError(f"{self!r} does not run here; {self.request.task} does")
        if eta is not None:
            from celeriac.protocol import aware  # noqa: PLC0415 - for tasks that run

            countdown = (aware(eta) - self.app.clock.now()).total_seconds()
        handled = sys.exc_info()[1]
        why = exc if exc is not None or isinstance(handled, TaskFlow) else handled
        wish = Retry(why, countdown=countdown, args=args, kwargs=kwargs, max_retries=max_retries)
        if throw:
            raise wish
        return wish

    def progress(self, current: float, total: float | None = None, **meta: Any) -> None:
        """Tell, from inside the task, how far it is; as `celeriac.progress`."""
        from celeriac.request import progress  # noqa: PLC0415 - for tasks that run

        progress(current, total, **meta)

    def options(self, **options: Any) -> Task[P, R]:
        """Return this task with other call options, its typed signature kept: ``add.options(queue="x").delay(4, 4)``.

        Raises:
            UnknownOption: a name that is no call option.
        """
        task: Task[P, R] = object.__new__(type(self))
        task.__dict__.update(self.__dict__, types=self.types)
        task.defaults = self.defaults.with_(options)
        return task

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send the task; return once the broker has it, routed.

        Raises:
            TypeError: the arguments do not fit the function; a `ValidationError` where they are not of its types.
            EncodeError: an argument cannot be carried.
            PublishError: the broker did not take it within ``publish_timeout``.
        """
        return self.app.sender.send(self.name, args, kwargs, self._checked(args, kwargs), self)

    async def adelay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Send the task from a coroutine; as `delay`."""
        return await self.app.sender.asend(self.name, args, kwargs, self._checked(args, kwargs), self)

    def apply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[R]:
        """Send the task with call options (see `CallOptions`); as `delay`.

        Raises:
            UnknownOption: a name that is no call option.
        """
        kwargs = kwargs or {}
        defaults = self._checked(args, kwargs)
        return self.app.sender.send(self.name, args, kwargs, defaults.with_(options), self)

    async def aapply_async(
        self, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> AsyncResult[R]:
        """Send the task with call options from a coroutine; as `apply_async`."""
        kwargs = kwargs or {}
        defaults = self._checked(args, kwargs)
        return await self.app.sender.asend(self.name, args, kwargs, defaults.with_(options), self)

    def delay_many(self, calls: Iterable[Sequence[Any]]) -> list[AsyncResult[R]]:
        """Send one task for each tuple of arguments, pipelined; return once every one is confirmed.

        Raises:
            PublishErrors: some were not taken; ``.failed`` holds their messages.
        """
        return self.app.sender.send_many(self, self._checked_all(calls))

    async def adelay_many(self, calls: Iterable[Sequence[Any]]) -> list[AsyncResult[R]]:
        """Send many from a coroutine; as `delay_many`."""
        return await self.app.sender.asend_many(self, self._checked_all(calls))

    def _checked_all(self, calls: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
        checked = list(calls)
        for args in checked:
            if isinstance(args, str) or not isinstance(args, Sequence):
                raise TypeError(f"each call is a tuple of arguments, not {args!r}; write [(1, 2), (3, 4)]")
            self._checked(args, {})
        return checked

    def _checked(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> CallOptions:
        """Refuse arguments that do not fit the function; return the task's call options."""
        arity = self._plain_arity
        if kwargs or arity is None or not arity[0] <= len(args) <= arity[1]:
            try:
                self._signature.bind(*args, **kwargs)
            except TypeError as error:
                unknown = [name for name in kwargs if name not in self._signature.parameters]
                hint = did_you_mean(unknown[0], self._signature.parameters) if unknown else ""
                raise TypeError(f"{self.name}{self._signature}: {error}{hint}") from None
        return self.defaults


class FunctionTask(Task[P, R]):
    """A task of a ``def`` function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now."""
        return self.fn(self, *args, **kwargs) if self.bind else self.fn(*args, **kwargs)  # type: ignore[no-any-return]


class CoroutineTask(Task[P, R]):
    """A task of an ``async def`` function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call the coroutine function here and now."""
        return self.fn(self, *args, **kwargs) if self.bind else self.fn(*args, **kwargs)  # type: ignore[no-any-return]


if TYPE_CHECKING:

    class TaskMaker(Protocol):
        """What ``@app.task(...)`` returns: the function's own types are kept."""

        @overload
        def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap] # as App.task
        @overload
        def __call__(self, fn: Callable[P, R], /) -> FunctionTask[P, R]: ...

    class BoundTaskMaker(Protocol):
        """What ``@app.task(bind=True)`` returns: callers do not see the first argument."""

        @overload
        def __call__(self, fn: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap] # as App.task
        @overload
        def __call__(self, fn: Callable[Concatenate[Any, P], R], /) -> FunctionTask[P, R]: ...


def _limit(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name}={value!r} is no duration; give seconds or a timedelta") from None
    if not 0 < seconds < float("inf"):
        raise ConfigurationError(f"{name}={value!r}: give more than 0 seconds; without a limit leave it out")
    return seconds


def _without_first(signature: inspect.Signature) -> inspect.Signature:
    parameters = list(signature.parameters.values())
    if not parameters:
        raise ConfigurationError("a task with bind=True takes itself as its first argument; add self")
    return signature.replace(parameters=parameters[1:])


def _plain_arity(signature: inspect.Signature) -> tuple[int, int] | None:
    """Return how many positional arguments fit, for signatures where only their number matters."""
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signature.parameters.values()
    if any(each.kind not in plain for each in parameters):
        return None
    return sum(each.default is each.empty for each in parameters), len(parameters)
