"""Print a script that completes commands and options in a shell.

example: celeriac completion bash > ~/.local/share/bash-completion/completions/celeriac
         celeriac completion zsh > ~/.zfunc/_celeriac
         celeriac completion fish > ~/.config/fish/completions/celeriac.fish

The script is written once and asks nobody while you type. It needs `shtab`: pip install 'celeriac[completion]'.
"""

from __future__ import annotations

import argparse
import importlib
from typing import TYPE_CHECKING

from celeriac.cli import exits
from celeriac.cli.main import COMMANDS, add_common_arguments
from celeriac.cli.output import print_json
from celeriac.errors import ConfigurationError

if TYPE_CHECKING:
    from celeriac.app import App

# shtab's script for bash takes any word that is a command's name for that command, also one that belongs to an option,
# as the module's name in `celeriac -A tasks worker`
_ANY_WORD = 'if [[ -n $sub_parsers && " ${sub_parsers[@]} " == *" $this_word "* ]]; then'
SHELLS = ("bash", "zsh", "fish", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's own arguments."""
    parser.add_argument("shell", choices=SHELLS, help="for which shell")


def run(arguments: argparse.Namespace, _app: App | None) -> int:
    """Print it.

    Raises:
        ConfigurationError: shtab is not installed, or is one that does not know the shell.
    """
    try:
        import shtab  # noqa: PLC0415 - an extra
    except ImportError:
        text = "completion needs 'shtab', which is not installed; pip install 'celeriac[completion]'"
        raise ConfigurationError(text) from None
    if arguments.shell not in shtab.SUPPORTED_SHELLS:
        known = ", ".join(shtab.SUPPORTED_SHELLS)
        raise ConfigurationError(f"this shtab knows {known}, and not {arguments.shell}; pip install -U shtab")
    script = shtab.complete(whole_parser(), arguments.shell)
    script = script.replace(_ANY_WORD, f"if $current_action_is_positional && {_ANY_WORD.removeprefix('if ')}")
    if arguments.json:
        print_json({"shell": arguments.shell, "script": script})
    else:
        print(script)
    return exits.OK


def whole_parser() -> argparse.ArgumentParser:
    """Return the whole command line as one parser."""
    parser = argparse.ArgumentParser(prog="celeriac", description="A distributed task queue.")
    parser.add_argument("--version", action="version", version="", help="show the version")
    add_common_arguments(parser)
    commands = parser.add_subparsers(dest="command")
    for name, meaning in COMMANDS.items():
        command = commands.add_parser(name, help=meaning, description=meaning)
        importlib.import_module(f"celeriac.cli.{name}").add_arguments(command)
        add_common_arguments(command)
    return parser
