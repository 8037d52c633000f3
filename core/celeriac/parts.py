"""What an App is made of, each part made when it is first needed.

A module that only declares tasks needs next to none of it. What makes a part is imported with the part, so that
importing a module of tasks is fast; `tests/architecture/test_import_effects.py` pins what that loads.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random
    from threading import RLock

    from celeriac.app import App
    from celeriac.codec import Codecs
    from celeriac.configuration import Configuration
    from celeriac.declared import Declared
    from celeriac.hooks import Hooks
    from celeriac.middleware import Middleware, Middlewares
    from celeriac.plugins import Plugins
    from celeriac.routing import Router, Routes
    from celeriac.sender import Sender
    from celeriac.settings import Settings
    from celeriac.topology import Queue

SETTLED = ("conf", "default_queue", "queues", "router", "codecs")  # by the settings


class Parts:
    """The parts of an App; `celeriac.app.App` gives what they are made from."""

    configuration: Configuration
    _lock: RLock
    _plugins: Plugins | None = None
    _middleware: Sequence[Middleware]
    _declared: Declared
    _routes: Routes | None

    @property
    def plugins(self) -> Plugins:
        """What is plugged in; ``plugins.register(obj)`` adds to this App alone."""
        if self._plugins is None:
            from celeriac.plugins import Plugins  # noqa: PLC0415

            with self._lock:
                self._plugins = self._plugins or Plugins()
        return self._plugins

    @cached_property
    def hooks(self) -> Hooks:
        """The hooks of the plugins that observe."""
        from celeriac.hooks import Hooks  # noqa: PLC0415

        return Hooks(self.plugins)

    @cached_property
    def sender(self) -> Sender:
        """What sends."""
        from celeriac.sender import Sender  # noqa: PLC0415

        return Sender(cast("App", self))

    @cached_property
    def random(self) -> Random:
        """What spreads retries and reconnections."""
        from random import Random  # noqa: PLC0415

        return Random()  # noqa: S311 - no secret

    # settled by the settings, and by no call before the first that needs them

    @cached_property
    def conf(self) -> Settings:
        """The settings.

        Raises:
            ConfigurationError: a value cannot work, or a file that should hold some cannot be read.
        """
        return self.configuration.settings()

    @cached_property
    def default_queue(self) -> Queue:
        """Where a task goes that has no route."""
        return self._declared.default_queue(self.conf)

    @cached_property
    def queues(self) -> tuple[Queue, ...]:
        """The declared queues, the default one first."""
        return self._declared.with_default(self.default_queue)

    @cached_property
    def router(self) -> Router:
        """Where tasks go."""
        from celeriac.routing import Router  # noqa: PLC0415

        return Router(self._routes, self.default_queue)

    @cached_property
    def codecs(self) -> Codecs:
        """How arguments and results are encoded."""
        return self.plugins.codecs(self.conf)

    @cached_property
    def middlewares(self) -> Middlewares:
        """What stands around every publish and run: of the plugins, and inside them the App's own.

        Raises:
            ConfigurationError: a plugin fails to say, or says something else.
        """
        from celeriac.hooks import middlewares_of  # noqa: PLC0415

        return middlewares_of(cast("App", self), self._middleware)
