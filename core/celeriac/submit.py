"""Functions that are sent by value: `App.submit`, `App.executor`, and the tasks that run them."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from celeriac.errors import ConfigurationError
from celeriac.parts import Parts
from celeriac.registry import declare_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from celeriac.app import App
    from celeriac.executor import TaskExecutor
    from celeriac.result import AsyncResult
    from celeriac.settings import Settings
    from celeriac.task import CallOptions, Task

    Call = tuple[str, Sequence[Any], Mapping[str, Any], CallOptions, Task[..., Any]]  # as `Sender.send` takes it

P = ParamSpec("P")
R = TypeVar("R")
BY_VALUE = "cloudpickle"
TASK = "celeriac.submit"
COROUTINE_TASK = "celeriac.submit_async"
OPTIONS: dict[str, Any] = {
    "serializer": BY_VALUE,
    "result_serializer": BY_VALUE,
    "track_started": True,
    "typing": False,
}
DEFERRED = {"publish_confirm": "deferred"}  # what the broker did not take, the future then raises


class Submits(Parts):
    """What an App does with functions that are none of its tasks."""

    @overload
    def submit(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncResult[R]: ...
    @overload
    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]: ...
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Send a function by value, a lambda or one of the program's own, with its arguments; its result comes so too.

        Both ends must opt in: ``App(accept_content=["json", "cloudpickle"], signing_keys=[...])``.

        Raises:
            ConfigurationError: this App has not.
            TypeError: ``fn`` cannot be called.
            EncodeError: the function or an argument cannot be pickled.
            PublishError: the broker did not take it within ``publish_timeout``.
        """
        return self.sender.send(*self._call(fn, args, kwargs))

    async def asubmit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult[Any]:
        """Send a function from a coroutine; as `submit`."""
        return await self.sender.asend(*self._call(fn, args, kwargs))

    def executor(self, **options: Any) -> TaskExecutor:
        """Return a `concurrent.futures.Executor` that runs functions by value on this App's workers.

        Args:
            **options: call options of each call (see `CallOptions`): ``queue``, ``expires``, ``priority``, ...

        Raises:
            ConfigurationError: this App has not opted in.
            UnknownOption: a name that is no call option.
        """
        from celeriac.executor import TaskExecutor  # noqa: PLC0415 - with concurrent.futures, as `App` says

        self._call(max, (), {}, options)

        def send(fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> AsyncResult[Any]:
            how = DEFERRED if _in_a_loop() else {}
            return self.sender.send_alone(*self._call(fn, args, kwargs, {**how, **options}))

        return TaskExecutor(cast("App", self), send)

    def _call(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
    ) -> Call:
        """Return the call of a task of ours that runs ``fn``."""
        app = cast("App", self)
        if not opted_in(app.conf):
            raise ConfigurationError(
                'code travels only where both ends opt in: App(accept_content=["json", "cloudpickle"], '
                "signing_keys=[...]), the same keys for callers and workers"
            )
        if not callable(fn):
            raise TypeError(f"{fn!r:.80} cannot be called; give a function and its arguments: submit(pow, 2, 10)")
        name = COROUTINE_TASK if iscoroutinefunction(fn) else TASK
        task = app.tasks[name]
        return name, (fn, *args), kwargs, task.defaults.with_(options or {}), task


def _in_a_loop() -> bool:
    """Return whether to wait for a confirm here would hold up a running loop, as in ``loop.run_in_executor``."""
    import asyncio  # noqa: PLC0415 - as in `executor`

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def opted_in(settings: Settings) -> bool:
    """Return whether an App accepts functions by value."""
    from celeriac.codec import short_name  # noqa: PLC0415 - as in `executor`

    return BY_VALUE in map(short_name, settings.accept_content)


def _declare(app: App) -> None:
    """Give ``app`` the tasks that run functions sent by value, if its settings accept these."""
    if opted_in(app.conf):
        app.task(name=TASK, **OPTIONS)(_run)
        app.task(name=COROUTINE_TASK, **OPTIONS)(_run_async)


def _run(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Run a function that was sent by value."""
    return fn(*args, **kwargs)


async def _run_async(fn: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, **kwargs: Any) -> Any:
    """Run a coroutine function that was sent by value."""
    return await fn(*args, **kwargs)


declare_everywhere(_declare)
