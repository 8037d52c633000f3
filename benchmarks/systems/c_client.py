"""Runs ``clients/publish.c`` where a system's module would send: the program is compiled at its first use.

``program``: where the compiled program is; ``queue``, ``type``: of the queue.
"""

from __future__ import annotations

import os
import sys
from urllib.parse import unquote, urlsplit

from benchmarks.systems.settings import SETTINGS, URL, named

if __name__ == "__main__":
    parts = urlsplit(URL)
    where = [
        parts.hostname or "localhost",
        str(parts.port or 5672),
        parts.username or "guest",
        parts.password or "guest",
    ]
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    sys.stdout.flush()
    os.execv(SETTINGS["program"], ["publish", *where, vhost, named(SETTINGS["queue"]), SETTINGS["type"], sys.argv[3]])
