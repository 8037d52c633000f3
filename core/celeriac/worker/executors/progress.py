"""What the tasks of an executor tell of their progress: the latest word of each, a few times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from celeriac.codec import Codecs

    Encoded = tuple[bytes, str, str]

EVERY_SECONDS = 0.1


class Progress:
    """Takes a word from any thread, and tells it on the executor's loop, with what else has gathered."""

    def __init__(self, codecs: Codecs, tell: Callable[[Mapping[int, Encoded]], None]) -> None:
        """Have ``tell`` called with the latest words by job: body, content type, content encoding."""
        self._codecs = codecs
        self._tell = tell
        self._latest: dict[int, Encoded] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._told_at = float("-inf")

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell on ``loop`` from now on."""
        self._loop = loop

    def note(self, seq: int, meta: Mapping[str, Any]) -> None:
        """Take a word of the job ``seq``. Any thread may, and it may be interrupted anywhere: it holds no lock.

        Raises:
            EncodeError: a value cannot be carried.
        """
        codec = self._codecs.json  # whatever results are: a caller reads it before there is one
        self._latest[seq] = codec.encode(meta), codec.content_type, codec.content_encoding
        if self._timer is None:  # else it goes with what is told next: `_ring` resets the timer before it looks
            self._loop.call_soon_threadsafe(self._set_timer)

    def _set_timer(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_at(max(self._told_at + EVERY_SECONDS, self._loop.time()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._told_at = self._loop.time()
        latest, self._latest = self._latest, {}
        if latest:
            self._tell(latest)
