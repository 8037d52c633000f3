"""Scripts that run inside Redis, one a file: each begins with its KEYS, its ARGV and what it returns."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    Argument = bytes | str | int | float


class Script:
    """One script, known to the server by its hash."""

    def __init__(self, name: str) -> None:
        """Read ``name.lua``."""
        self.name = name
        self.text = files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
        self._hash = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, client: Redis, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Any:
        """Run it in one step; the server is given its text where it does not have it.

        Raises:
            RedisError: to be mapped by the caller.
        """
        said = (len(keys), *keys, *arguments)
        try:
            return await client.execute_command("EVALSHA", self._hash, *said)  # type: ignore[no-untyped-call]
        except NoScriptError:  # a new server, or one that was started again: nothing was run
            return await client.execute_command("EVAL", self.text, *said)  # type: ignore[no-untyped-call]
