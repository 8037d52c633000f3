"""JSON logs of workers, one object a line: each says which task, which attempt and which queue it belongs to.

    from celeriac import App
    from celeriac_logging import JsonLogging

    app = App()
    app.plugins.register(JsonLogging())

It changes what a program prints, so that it has no entry point: the App that wants it registers it. Besides that it is
made as any plugin is: hooks in this module, the rest beside it, and nothing but public names of celeriac.
"""

from __future__ import annotations

import logging

from celeriac.hookspecs import hookimpl

__all__ = ["JsonLogging"]

HANDLER = "celeriac"


class JsonLogging:
    """The plugin: gives the handler that the worker's command has made another form."""

    @hookimpl
    def celeriac_setup_logging(self) -> None:
        """Set it, in the worker's own process and in each in which tasks run."""
        from celeriac_logging.records import JsonFormatter, TaskFields  # noqa: PLC0415 - only where a worker is

        for handler in logging.getLogger().handlers:
            if handler.name == HANDLER:
                handler.addFilter(TaskFields())
                handler.setFormatter(JsonFormatter())
