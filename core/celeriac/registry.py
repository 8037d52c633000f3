"""The tasks of an App by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from celeriac.errors import ConfigurationError, NotRegistered, did_you_mean
from celeriac.task import Task


class TaskRegistry(Mapping[str, Task[..., Any]]):
    """The tasks of an App by name; a program's tasks also by the names that importing it would give."""

    def __init__(self) -> None:
        """Start empty."""
        self._tasks: dict[str, Task[..., Any]] = {}
        self._aliases: dict[str, str] = {}

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
        task = self._tasks.get(name)
        if task is None and self._aliases:
            module, _, function = name.rpartition(".")
            task = self._tasks.get(f"{self._aliases.get(module, module)}.{function}")
        if task is None:
            raise NotRegistered(f"no task {name!r} in this App{did_you_mean(name, self._tasks)}")
        return task

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._tasks)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._tasks)


def _where(fn: Callable[..., Any]) -> str:
    code = inspect.unwrap(fn)
    return f"{getattr(getattr(code, '__code__', None), 'co_filename', '?')}:{getattr(code, '__qualname__', code)}"
