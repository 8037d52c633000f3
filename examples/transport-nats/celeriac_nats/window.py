"""One queue of a consumer: what was asked for, what has come, and what is held."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from celeriac_nats.names import READY
from celeriac_nats.pulling import WAIT, Puller
from celeriac_nats.wire import unpack_or_leave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from nats.aio.msg import Msg

    from celeriac.clock import Clock
    from celeriac.message import Message
    from celeriac_nats.link import Link


@dataclass(slots=True)
class Arrived:
    """A message in our hands.

    Attributes:
        queue: where it came from.
        payload: as it lies in the stream; what a task does to its message's headers changes nothing here.
        message: what it says.
        returns: how often it came back, on whatever way.
        reply: names the delivery to the server.
        lease_until: until when it is ours; the server's own clock for it began earlier and runs longer.
    """

    queue: str
    payload: bytes
    message: Message
    returns: int
    reply: str
    lease_until: datetime

    @property
    def origin(self) -> str:
        """Names the message in its stream, however often it is delivered."""
        _, _, stream, _, _, sequence, *_ = self.reply.split(".")
        return f"{stream}:{sequence}"


class Window:
    """Asks for no more than its share, less what it has."""

    def __init__(
        self, link: Link, queue: str, share: int, lease: float, clock: Clock, news: Callable[[], None]
    ) -> None:
        """Begin empty.

        Args:
            link: to the server.
            queue: its name.
            share: how many deliveries may be ours at a time.
            lease: seconds that one stays ours.
            clock: where the time comes from.
            news: called when something has come, or nothing more will.
        """
        self.queue = queue
        self.share = share
        self.held = 0
        self._lease = timedelta(seconds=lease)
        self._clock = clock
        self._news = news
        self._buffer: deque[Arrived] = deque()
        self._puller = Puller(link, link.names.stream(queue), READY, self._take, news)

    async def ask(self, limit: int, wait: float) -> None:
        """Ask for what there is room for, ``limit`` at most, unless something asked for may still come."""
        room = min(limit, self.share - self.held - len(self._buffer))
        if room > 0 and not self._puller.expected:
            await self._puller.ask(room, min(wait, WAIT))

    @property
    def expected(self) -> bool:
        """Something may still come."""
        return self._puller.expected > 0 or bool(self._buffer)

    def hand_out(self, limit: int) -> Iterator[Arrived]:
        """Yield up to ``limit`` of what has come, and count it as held."""
        now = self._clock.now()
        while self._buffer and limit > 0:
            arrived = self._buffer.popleft()
            if arrived.lease_until > now:  # else it waited here too long, and is somebody else's by now
                self.held += 1
                limit -= 1
                yield arrived

    async def halt(self) -> list[Arrived]:
        """Ask for nothing more; return what has come and was not handed out."""
        await self._puller.stop()
        surplus, self._buffer = list(self._buffer), deque()
        return surplus

    def renewed(self, now: datetime) -> datetime:
        """Return until when a delivery is ours that is handed over or renewed at ``now``."""
        return now + self._lease

    def _take(self, message: Msg) -> None:
        kept = unpack_or_leave(message.data, f"in the stream of queue {self.queue!r}")
        if kept is None:
            return
        returns = kept.returns + message.metadata.num_delivered - 1
        until = self.renewed(self._clock.now())
        self._buffer.append(Arrived(self.queue, message.data, kept.message, returns, message.reply, until))
