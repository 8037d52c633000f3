"""The ``celeriac`` command: `main`, and one module a command."""

from celeriac.cli.main import main

__all__ = ["main"]
