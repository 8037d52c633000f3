"""The calls of hooks: plugins are asked once for their functions, which are then called as they are.

pluggy registers them and checks what they take; it does not stand between an event and its observer. What an observer
raises is logged, never heeded; what one that registers raises is a `PluginError`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from celeriac import events
from celeriac.errors import PluginError
from celeriac.middleware import Middlewares
from celeriac.transport_helpers import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pluggy

    from celeriac.app import App
    from celeriac.events import TaskEvent
    from celeriac.middleware import Middleware
    from celeriac.plugins import Plugins

    Function = Callable[..., Any]

logger = logging.getLogger("celeriac.plugins")

TASK_HOOKS: dict[str, type[TaskEvent]] = {
    "celeriac_task_received": events.Received,
    "celeriac_task_refused": events.Refused,
    "celeriac_task_started": events.Started,
    "celeriac_task_finished": events.Finished,
    "celeriac_task_unsuccessful": events.Unsuccessful,
    "celeriac_task_settled": events.Settled,
}


class Hooks:
    """What is plugged into one App to observe it."""

    def __init__(self, plugins: Plugins) -> None:
        """Ask ``plugins`` whenever somebody is to be told."""
        self._plugins = plugins

    def tell(self, hook: str, **about: Any) -> None:
        """Call every implementation of ``hook``; what one of them raises is logged."""
        for name, function, arguments in implementations(self._plugins, hook):
            try:
                function(*[about[argument] for argument in arguments])
            except Exception:
                logger.exception("the plugin %s failed in %s", name, hook)

    def observers(self) -> Iterator[tuple[Callable[[TaskEvent], object], type[TaskEvent]]]:
        """Yield each observer of task events, with the kind that it wants."""
        for text in self._plugins.misnamed():
            logger.warning("%s", text)
        for hook, kind in TASK_HOOKS.items():
            for _, function, arguments in implementations(self._plugins, hook):
                yield (function if arguments else _without_event(function)), kind


def middlewares_of(app: App, own: Iterable[Middleware]) -> Middlewares:
    """Return the middlewares of ``app``: those of its plugins, and inside them its ``own``.

    Raises:
        PluginError: a plugin could not say which are its.
        ConfigurationError: one is no `Middleware`, or has one half of a pair.
    """
    found: list[Middleware] = []
    for name, function, arguments in implementations(app.plugins, "celeriac_middleware"):
        given = asked(name, "celeriac_middleware", function, *[app for _ in arguments])
        if given is not None and not isinstance(given, Iterable):
            raise PluginError(f"the plugin {name} gave {given!r} for celeriac_middleware, which is no list")
        found += given or ()
    return Middlewares([*found, *own])


def asked(plugin: str, hook: str, function: Function, *arguments: Any) -> Any:
    """Return what a plugin registers.

    Raises:
        PluginError: it raised.
    """
    try:
        return function(*arguments)
    except Exception as error:
        why = f"{type(error).__name__}: {masked(str(error))}"
        raise PluginError(f"the plugin {plugin} failed in {hook}: {why}") from error


def implementations(plugins: Plugins, hook: str) -> list[tuple[str, Function, tuple[str, ...]]]:
    """Return what implements ``hook``: each plugin's name, its function, and the arguments that this takes, in order.

    A wrapper has nothing to wrap here; it is logged and left out.
    """
    found = []
    for each in plugins.implementations(hook):
        name = _name_of(each)
        if each.hookwrapper or each.wrapper:
            logger.error("the plugin %s wraps %s, which cannot be wrapped; it is not called", name, hook)
        else:
            function = _traced(hook, name, each.function) if plugins.trace else each.function
            found.append((name, function, each.argnames))
    return found


def _name_of(each: pluggy.HookImpl) -> str:
    """Return what people call a plugin; an object that was registered without a name is called by its class."""
    return type(each.plugin).__qualname__ if each.plugin_name == str(id(each.plugin)) else each.plugin_name


def _without_event(function: Function) -> Function:
    return lambda _event: function()


def _traced(hook: str, name: str, function: Function) -> Function:
    def call(*arguments: Any) -> Any:
        sys.stderr.write(f"  {hook} [{name}] {', '.join(map(repr, arguments))}\n")
        return function(*arguments)

    return call
