"""The node names of workers, as the command line has them."""

from __future__ import annotations

import socket

from celeriac.errors import ConfigurationError


def node_name(given: str | None) -> str | None:
    """Return the node name that ``-n`` asks for: ``celeriac@`` stands before one that has no ``@``.

    Raises:
        ConfigurationError: a ``%`` letter that means nothing.
    """
    if given is None:
        return None
    host = socket.gethostname()
    first, _, domain = host.partition(".")
    meanings = {"h": host, "n": first, "d": domain, "%": "%"}
    parts = given.replace("%%", "%\0").split("%")
    name = parts[0]
    for part in parts[1:]:
        letter = part[:1].replace("\0", "%")
        if letter not in meanings:
            raise ConfigurationError(f"-n {given!r}: %{letter} means nothing; use %h, %n, %d or %%")
        name += meanings[letter] + part[1:]
    return name if "@" in name else f"celeriac@{name}"
