"""Life, capabilities, topology and publishing, broken."""

import asyncio
import os
from dataclasses import replace

from celeriac.errors import MessageTooLarge, TopologyMismatch
from celeriac.message import CONFIRMED
from celeriac_memory.registry import forget
from sabotage.trial import Spoiled, breaks

# Life and capabilities


@breaks("LIFE-1", "constructing_opens_nothing")
class OpensInItsConstructor(Spoiled):
    def __init__(self, urls, **options):
        super().__init__(urls, **options)
        self.pipe = os.pipe()

    def __del__(self):
        for end in self.pipe:
            os.close(end)


@breaks("LIFE-4", "close_leaves_nothing")
class LeavesATask(Spoiled):
    async def open(self):
        await super().open()
        self.left = asyncio.ensure_future(asyncio.Event().wait())


@breaks("LIFE-5", "what_was_published_outlives_close")
class ForgetsWhenClosed(Spoiled):
    async def close(self):
        await super().close()
        forget(self._address.name)


@breaks("LIFE-6", "nothing_works_unopened")
class RaisesItsDriversErrors(Spoiled):
    async def depth(self, queue):
        if self._link is None:
            raise OSError("socket closed")
        return await super().depth(queue)


@breaks("CAP-1", "capabilities_only_grow")
class PromisesTooMuch(Spoiled):
    def capabilities(self, queue):
        known = super().capabilities(queue)
        return replace(known, pause=self._link is None)


@breaks("CAP-2", "pause_is_refused")
class PausesWithoutSayingSo(Spoiled):
    def capabilities(self, queue):
        return replace(super().capabilities(queue), pause=False)


@breaks("CAP-2", "delays_are_refused")
class DelaysWithoutSayingSo(Spoiled):
    def capabilities(self, queue):
        return replace(super().capabilities(queue), max_delay=None)


# Topology


@breaks("TOP-3", "topic_routes_by_words")
class TakesAWordForMany(Spoiled):
    async def declare(self, topology):
        bindings = [replace(b, routing_key=b.routing_key.replace("*", "#")) for b in topology.bindings]
        await super().declare(replace(topology, bindings=bindings))


@breaks("TOP-6", "once_from_each_queue")
class DeliversOnceABinding(Spoiled):
    async def publish(self, messages):
        if any(message.exchange for message in messages):
            await super().publish(messages)
        return await super().publish(messages)


@breaks("TOP-7", "a_queue_is_never_altered")
class OverlooksDifferences(Spoiled):
    async def declare(self, topology):
        try:
            await super().declare(topology)
        except TopologyMismatch:
            return


@breaks("TOP-9", "passive_makes_nothing")
class MakesWhatItShouldLookFor(Spoiled):
    async def declare(self, topology):
        await super().declare(replace(topology, mode="active"))


# Publishing


@breaks("PUB-2", "receipts_in_order")
class SwallowsTheUnroutable(Spoiled):
    async def publish(self, messages):
        return [CONFIRMED for _ in await super().publish(messages)]


@breaks("PUB-4", "an_unknown_exchange_is_returned")
class FailsTheWholeCall(Spoiled):
    async def publish(self, messages):
        receipts = await super().publish(messages)
        return receipts if all(receipt.ok for receipt in receipts) else [receipts[-1], *receipts[:-1]]


@breaks("PUB-5", "raising_means_nothing_was_written")
class WritesOneByOne(Spoiled):
    async def publish(self, messages):
        return [(await super(WritesOneByOne, self).publish([message]))[0] for message in messages]


@breaks("PUB-6", "what_arrives_is_what_was_sent")
class LosesHeaders(Spoiled):
    async def publish(self, messages):
        return await super().publish([replace(message, headers={}) for message in messages])


@breaks("PUB-6", "what_arrives_is_what_was_sent")
class TakesTrueForOne(Spoiled):
    async def publish(self, messages):
        return await super().publish([replace(message, headers=plain(message.headers)) for message in messages])


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, bool) else value


@breaks("PUB-6", "a_broker_shares_no_memory")
class SharesItsHeaders(Spoiled):
    def __init__(self, urls, **options):
        super().__init__(urls, **options)
        self.shared = {}

    async def publish(self, messages):
        self.shared.update({message.id: message for message in messages})
        return await super().publish(messages)

    def spoil(self, consumer):
        receive = consumer.receive

        async def shared(limit, wait):
            return [replace(d, message=self.shared[d.message.id]) for d in await receive(limit, wait)]

        consumer.receive = shared


@breaks("PUB-7", "order")
class SendsTheLastFirst(Spoiled):
    async def publish(self, messages):
        return (await super().publish(messages[::-1]))[::-1]


@breaks("PUB-8", "cancelling_leaves_no_half")
class SendsAgainWhenCancelled(Spoiled):
    async def publish(self, messages):
        receipts = await super().publish(messages)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await super().publish(messages)
            raise
        return receipts


@breaks("PUB-9", "concurrent_publishes")
class PublishesInALine(Spoiled):
    async def publish(self, messages):
        self.line = getattr(self, "line", asyncio.Lock())
        async with self.line:
            await asyncio.sleep(0.04)
            return await super().publish(messages)


class TakesOnlySmall(Spoiled):
    most = 2**19

    async def publish(self, messages):
        small = [message for message in messages if len(message.body) <= self.most]
        return await self.with_only(small, messages)


@breaks("PUB-11", "a_large_message_arrives_or_is_refused")
class WritesTheSmallOnes(TakesOnlySmall):
    async def with_only(self, small, messages):
        receipts = await Spoiled.publish(self, small)
        if len(small) < len(messages):
            raise MessageTooLarge
        return receipts


@breaks("PUB-11", "a_large_message_arrives_or_is_refused")
class CutsWhatIsLarge(TakesOnlySmall):
    async def with_only(self, small, messages):
        return await Spoiled.publish(self, [replace(message, body=message.body[: self.most]) for message in messages])


@breaks("PUB-11", "a_large_message_arrives_or_is_refused")
class DropsWhatIsLarge(TakesOnlySmall):
    async def with_only(self, small, messages):
        await Spoiled.publish(self, small)
        return [CONFIRMED for _ in messages]
