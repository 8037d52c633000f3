"""The tasks of an App by name."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import ref

from celeriac.errors import ConfigurationError, NotRegistered, did_you_mean
from celeriac.task import Task

if TYPE_CHECKING:
    from celeriac.app import App

_lock = threading.RLock()
_apps: list[ref[App]] = []
_preferred: list[App] = []
_declarations: list[Callable[[App], object]] = []


def apps() -> list[App]:
    """Return the Apps of this process, in the order in which they were made; those that are `preferred` come last."""
    with _lock:
        made = [app for each in _apps if (app := each()) is not None]
        return [*(app for app in made if app not in _preferred), *_preferred]


@contextmanager
def preferred(app: App) -> Iterator[None]:
    """Let an App count as the one that was made last, say while it is under test."""
    with _lock:
        _preferred.append(app)
    try:
        yield
    finally:
        with _lock:
            _preferred.remove(app)


def declare_everywhere(declaration: Callable[[App], object]) -> None:
    """Declare tasks in every App of this process, those that are made later too.

    Args:
        declaration: called once with each App, when that is first asked for a task that it does not have, or for all.
    """
    with _lock:
        _declarations.append(declaration)


class TaskRegistry(Mapping[str, Task[..., Any]]):
    """The tasks of an App by name; a program's tasks also by the names that importing it would give."""

    def __init__(self, app: App) -> None:
        """Start empty."""
        self._tasks: dict[str, Task[..., Any]] = {}
        self._aliases: dict[str, str] = {}
        self._app = app  # which lives as long as somebody has its tasks
        self._adopted = 0  # of the declarations for every App
        with _lock:
            _apps[:] = [*(each for each in _apps if each() is not None), ref(app)]

    def add(self, task: Task[..., Any]) -> None:
        """Register a task; the same function again (a reload, a notebook) replaces itself.

        Raises:
            ConfigurationError: another function has that name.
        """
        known = self._tasks.get(task.name)
        if known is not None and _where(known.fn) != _where(task.fn):
            raise ConfigurationError(
                f"the name {task.name!r} is taken by {_where(known.fn)}; give {_where(task.fn)} another: "
                "@app.task(name=...)"
            )
        self._tasks[task.name] = task

    def alias(self, prefix: str, stands_for: str) -> None:
        """Let a task that is registered as ``stands_for.x`` be found as ``prefix.x`` too."""
        self._aliases[prefix] = stands_for

    def __getitem__(self, name: str) -> Task[..., Any]:
        """Return the task called ``name``.

        Raises:
            NotRegistered: with a did-you-mean.
        """
        task = self._find(name)
        if task is None and self._adopted < len(_declarations):
            self._adopt()
            task = self._find(name)
        if task is None:
            raise NotRegistered(f"no task {name!r} in this App{did_you_mean(name, self._tasks)}")
        return task

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        self._adopt()
        return iter(self._tasks)

    def __len__(self) -> int:
        """Return how many there are."""
        self._adopt()
        return len(self._tasks)

    def _find(self, name: str) -> Task[..., Any] | None:
        task = self._tasks.get(name)
        if task is None and self._aliases:
            module, _, function = name.rpartition(".")
            task = self._tasks.get(f"{self._aliases.get(module, module)}.{function}")
        return task

    def _adopt(self) -> None:
        """Declare here what was declared for every App."""
        with _lock:
            while self._adopted < len(_declarations):
                _declarations[self._adopted](self._app)
                self._adopted += 1  # from now on others find it without waiting here


def _where(fn: Callable[..., Any]) -> str:
    code = inspect.unwrap(fn)
    return f"{getattr(getattr(code, '__code__', None), 'co_filename', '?')}:{getattr(code, '__qualname__', code)}"
