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
    """One script, known to the server by its hash.

    Attributes:
        name: of its last file.
        text: what the server is given.
        hash: what the server knows it by.
    """

    def __init__(self, *names: str) -> None:
        """Read ``name.lua`` of each, one after the other: what several scripts share stands in files of its own."""
        self.name = names[-1]
        self.text = "\n".join(files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in names)
        self.hash = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, client: Redis, keys: Sequence[Argument], arguments: Sequence[Argument]) -> Any:
        """Run it in one step; the server is given its text where it does not have it.

        Raises:
            RedisError: to be mapped by the caller.
        """
        said = (len(keys), *keys, *arguments)
        try:
            return await client.execute_command("EVALSHA", self.hash, *said)  # type: ignore[no-untyped-call]
        except NoScriptError:  # a new server, or one that was started again: nothing was run
            return await client.execute_command("EVAL", self.text, *said)  # type: ignore[no-untyped-call]
