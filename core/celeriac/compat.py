"""For programs that come from Celery: ``from celeriac.compat import shared_task`` in the place of Celery's own.

A task that is declared so belongs to no App yet. Every App of the process adopts it, whether it was made before or
after, when it looks for its tasks, as if it had been declared by ``@app.task``. Calls go to the App that was made last,
as in Celery; in most programs there is only one.
"""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload
from weakref import WeakKeyDictionary

from celeriac.app import ALL_OPTIONS
from celeriac.errors import ConfigurationError, UnknownOption
from celeriac.registry import apps, declare_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from celeriac.app import App
    from celeriac.task import BoundTaskMaker, CoroutineTask, FunctionTask, Task, TaskMaker

P = ParamSpec("P")
R = TypeVar("R")


@overload
def shared_task(fn: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap] # as App.task
@overload
def shared_task(fn: Callable[P, R], /) -> FunctionTask[P, R]: ...
@overload
def shared_task(fn: None = None, /, *, bind: Literal[True], **options: Any) -> BoundTaskMaker: ...
@overload
def shared_task(fn: None = None, /, *, bind: Literal[False] = False, **options: Any) -> TaskMaker: ...
def shared_task(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare a task in every App of this process: ``@shared_task`` or ``@shared_task(queue="mail")``.

    Args:
        fn: a ``def`` or ``async def`` function; it stays callable.
        **options: as of `App.task`.

    Raises:
        UnknownOption: an option of an unknown name, with a did-you-mean.
    """
    for name in options:
        if name not in ALL_OPTIONS:
            raise UnknownOption("task option", name, ALL_OPTIONS)
    return SharedTask(fn, options) if fn is not None else lambda fn: SharedTask(fn, options)


class SharedTask:
    """Stands for the tasks that the Apps of this process make of one function: behaves as that of the App made last."""

    def __init__(self, fn: Callable[..., Any], options: Mapping[str, Any]) -> None:
        """Declare it; `shared_task` is how to."""
        self._fn = fn
        self._options = options
        self._names: WeakKeyDictionary[App, str] = WeakKeyDictionary()
        update_wrapper(self, fn)
        declare_everywhere(self._adopt)

    def _adopt(self, app: App) -> None:
        self._names[app] = app.task(**self._options)(self._fn).name

    @property
    def _task(self) -> Task[..., Any]:
        made = apps()
        if not made:
            raise ConfigurationError(
                f"{self._fn.__module__}.{self._fn.__qualname__} is shared by all Apps of this process, and there is "
                "none: import the module that makes yours first"
            )
        app = made[-1]
        len(app.tasks)  # adopts what it has not yet
        return app.tasks[self._names[app]]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function here and now."""
        return self._fn(self._task, *args, **kwargs) if self._options.get("bind") else self._fn(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Return what the task of the App made last has."""
        if name.startswith("_"):  # asked by those who copy or inspect objects
            raise AttributeError(name)
        return getattr(self._task, name)

    def __repr__(self) -> str:
        """Return ``<shared task: module.function>``."""
        return f"<shared task: {self._fn.__module__}.{self._fn.__qualname__}>"
