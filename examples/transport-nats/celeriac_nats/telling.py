"""What goes to everyone: signals on core NATS, and revocations in a stream."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nats.js.api import DeliverPolicy, StorageType, StreamConfig

from celeriac.errors import Unsupported
from celeriac.transport import Revocations
from celeriac_nats.publishing import Parcel, refuse_large, send
from celeriac_nats.wire import dedup_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from nats.aio.subscription import Subscription

    from celeriac_nats.link import Link

LONGEST = timedelta(days=400)  # that a revocation is kept
BATCH = 1000  # ids a message


async def signal(link: Link, topic: str, body: bytes) -> None:
    """Tell whoever listens now."""
    subject = link.names.signal(topic)
    refuse_large(link, [Parcel(subject, body, "")])

    async def say() -> None:
        await link.say(subject, body)
        await link.nc.flush()

    await link.ask(say(), f"cannot signal {topic!r}")


@asynccontextmanager
async def listen(link: Link, topic: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """Hear what is signalled from now on."""
    subscription = await link.ask(link.nc.subscribe(link.names.signal(topic)), f"cannot listen to {topic!r}")
    try:
        await link.ask(link.nc.flush(), f"cannot listen to {topic!r}")  # the server knows of us once this returns
        yield _bodies(link, subscription)
    finally:
        await _leave(link, subscription)


async def revoke(link: Link, ids: Sequence[str], until: datetime) -> None:
    """Write ids to the stream of revocations.

    Raises:
        Unsupported: the stream does not keep them so long.
    """
    if until - datetime.now(UTC) > LONGEST:
        raise Unsupported(f"revocations are kept for {LONGEST} at most, not until {until}")
    await _make_stream(link)
    bodies = [
        json.dumps({"until": until.isoformat(), "ids": list(ids[start : start + BATCH])}).encode()
        for start in range(0, len(ids), BATCH)
    ]
    subject = link.names.revocations
    for receipt in await send(link, [Parcel(subject, body, dedup_id(body)) for body in bodies]):
        if not receipt.ok:
            raise Unsupported(f"the revocation was not kept: {receipt}")


@asynccontextmanager
async def revoked(link: Link, now: datetime) -> AsyncIterator[Revocations]:
    """Read the stream to its end, then follow it."""
    doing = "cannot follow the revocations"
    await _make_stream(link)
    subject = link.names.revocations
    state = (await link.ask(link.js.stream_info(subject), doing)).state
    following = link.js.subscribe(subject, stream=subject, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL)
    subscription = await link.ask(following, doing)
    try:
        known: set[str] = set()
        seen = state.last_seq if not state.messages else 0
        while seen < state.last_seq:
            message = await link.ask(subscription.next_msg(timeout=None), doing)
            seen = message.metadata.sequence.stream
            said = json.loads(message.data)
            if datetime.fromisoformat(said["until"]) > now:
                known.update(said["ids"])
        yield Revocations(frozenset(known), _ids(link, subscription))
    finally:
        await _leave(link, subscription)


async def _bodies(link: Link, subscription: Subscription) -> AsyncIterator[bytes]:
    while True:
        yield (await link.ask(subscription.next_msg(timeout=None), "listening")).data


async def _ids(link: Link, subscription: Subscription) -> AsyncIterator[str]:
    async for body in _bodies(link, subscription):
        for revoked_id in json.loads(body)["ids"]:
            yield revoked_id


async def _leave(link: Link, subscription: Subscription) -> None:
    if not link.nc.is_closed:
        await subscription.unsubscribe()


async def _make_stream(link: Link) -> None:
    name = link.names.revocations
    config = StreamConfig(
        name=name,
        subjects=[name],
        storage=StorageType.FILE,
        num_replicas=link.address.replicas,
        max_age=LONGEST.total_seconds(),
    )
    await link.ask(link.js.add_stream(config), "cannot make the stream of revocations")
